"""What a step asks of the world outside, as Python text: sums over the model, losses and gradients elsewhere."""

from __future__ import annotations

from dotopt.compiler.emit.torch.lists import Lists
from dotopt.compiler.emit.torch.places import Places
from dotopt.compiler.ir import Node
from dotopt.compiler.text.errors import fail


class Requests:
    """Writes the `yield` of each request, and notes why a closure is needed."""

    def __init__(self, theta: Node, places: Places) -> None:
        self.theta = theta
        self.places = places
        self.reasons: dict[str, None] = {}

    def text(self, here: Node, lists: Lists) -> str:
        """The request for `here`, whose operands `lists` writes."""
        return self._oracle(here, lists) if here.op == "oracle" else self._total(here, lists)

    def _total(self, here: Node, lists: Lists) -> str:
        (a,) = here.args
        if self.places.scalar(a) and here.op != "size":
            raise fail("E601", here.span, construct="a sum over the model of a number")
        x = lists.code(a).text
        match here.op:
            case "sum":
                return f"(yield ModelSum(sums({x})))"
            case "mean":
                return f"(yield ModelSum(sums({x}))) / (yield ModelSum(sizes({x})))"
            case "norm" if here.attrs.order == 2:
                return f"(yield ModelNorm(norms({x})))"
            case "norm" if here.attrs.order == 1:
                return f"(yield ModelSum(norms({x}, None, 1)))"
            case "norm" if here.attrs.order is None:
                return f"(yield ModelMax(norms({x}, None, math.inf)))"
            case "amax":
                return f"(yield ModelMax(largest({x})))"
            case "amin":
                return f"-(yield ModelMax(neg(smallest({x}))))"
            case "size":
                return f"(yield ModelSum(sizes({x})))"
        raise fail("E601", here.span, construct=f"`{here.op}` over the model")

    def _oracle(self, here: Node, lists: Lists) -> str:
        _, what, argument, split, _ = here.attrs
        samples = split[0] if isinstance(split, tuple) else 0
        if argument is not None or samples:
            raise fail("E601", here.span, construct=f"`{here!r}`: an oracle with an argument or a sample of its own")
        self._reason(here)
        where = "None" if here.args[0] is self.theta else lists.code(here.args[0]).text
        match what:
            case "value":
                return "(yield Value())" if where == "None" else f"(yield Value({where}))"
            case "gradient" | "field":
                return f"(yield Gradient({lists.code(here.args[0]).text}))"
            case "hessian_vector":
                return f"(yield HessianVector({where}, {lists.code(here.args[1]).text}))"
        raise fail("E601", here.span, construct=f"`{here!r}`")

    def _reason(self, here: Node) -> None:
        line = (
            f" in line {here.span.line}: {here.span.source.line(here.span.line).split('#')[0].strip()}"
            if here.span
            else ""
        )
        self.reasons[f"`{here!r}`{line}"] = None
