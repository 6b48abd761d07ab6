"""Where a value lives: one number for all tensors of a bucket, or a list with one tensor a parameter."""

from __future__ import annotations

from dotopt.compiler.emit.torch.layers import of_layer
from dotopt.compiler.ir import REDUCTIONS, Loop, Node, Program
from dotopt.compiler.ir.loops import moving
from dotopt.compiler.text.errors import fail

ROLES = {
    "draw": "a draw in every pass of a loop",
    "input": "an input",
    "index": "an index",
    "sample": "a sample",
    "set": "a set",
    "free": "free",
}


class Places:
    """Tells numbers from lists."""

    def __init__(self, program: Program) -> None:
        self.shared = {state.name for state in program.states if state.shared}
        self.known: dict[Node, bool] = {}

    def scalar(self, root: Node) -> bool:
        """Whether `root` is one number for all tensors of a bucket."""
        stack = [root]
        while stack:
            here = stack[-1]
            unknown = [] if here in self.known or self._plain(here) else [x for x in here.args if x not in self.known]
            if unknown:
                stack += unknown
                continue
            stack.pop()
            if here not in self.known:
                self.known[here] = self._scalar(here)
        return self.known[root]

    def _plain(self, here: Node) -> bool:
        """Whether the operation alone decides."""
        return here.op in ("leaf", "oracle", "size", "native", "fires", "indicator", "eye", "zeros", "ones", "item")

    def _scalar(self, here: Node) -> bool:
        match here.op:
            case "leaf":
                return self._leaf(here)
            case "oracle":
                return bool(here.attrs.what == "value")
            case "size" | "native" | "fires" | "indicator":
                return True
            case "eye" | "zeros" | "ones":
                return False
            case op if op in REDUCTIONS and here.attrs.model:
                return True
            case "item":
                return self.variable(here.args[0], here.attrs.position)
        return all(self.known[arg] for arg in here.args)

    def _leaf(self, here: Node) -> bool:
        match here.role:
            case "param":
                return False
            case "state":
                return here.name in self.shared
            case "hyper" | "time" | "axis" | "option" | "const" | "rank":
                return True
            case "draw" if not here.args:
                return not here.type.axes
            case "input" if of_layer(here):
                return False
        raise fail("E601", here.span, construct=f"`{here.name}`, {ROLES.get(here.role, here.role)},")

    def variable(self, loop: Node, position: int) -> bool:
        """Whether a loop variable is a number: its start and its next value both are."""
        body: Loop = loop.attrs.body
        places = [self.scalar(start) for start in loop.args[1:]]
        while True:
            self.known |= dict(zip(body.variables, places, strict=True))
            for inner in moving(body):
                self.known.pop(inner, None)
            found = [place and self.scalar(after) for place, after in zip(places, body.nexts, strict=True)]
            if found == places:
                return places[position]
            places = found


def requests(here: Node) -> bool:
    """Whether the value comes from outside: a sum over the model, a gradient elsewhere."""
    if here.op in REDUCTIONS or here.op == "size":
        return bool(here.attrs.model)
    return here.op == "oracle"
