"""What a step needs to know of the shapes of its tensors, as Python text: sizes of axes, and the shapes of draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dotopt.compiler.emit.torch.places import Places
from dotopt.compiler.emit.torch.scalars import Scalars
from dotopt.compiler.ir import Node, Param, Program, leaf
from dotopt.compiler.ops.types import REST
from dotopt.compiler.text.errors import fail

LAWS = ("normal", "uniform", "bernoulli", "rademacher")  # of `dotopt.runtime.optimizer.draws`


class Shapes:
    """Writes sizes and draws; `like` is the variable of the parameter, `layer` those of what its layer saw."""

    def __init__(
        self,
        program: Program,
        like: str,
        layer: Mapping[Node, str],
        names: Mapping[Node, str],
        places: Places,
    ) -> None:
        self.param: Param = program.params[0]
        self.hypers = {hyper.name: leaf("hyper", hyper.name, hyper.type) for hyper in program.hypers}
        self.laws = {random.name: random for random in program.randoms}
        self.like = like
        self.layer = layer
        self.names = names
        self.places = places
        self.native = False  # whether a shape as the user made it is read
        self.scalars = Scalars(names, {hyper.name: hyper for hyper in program.hypers}, self.special)

    def size(self, axis: str) -> str:
        """The size of an axis."""
        axes = self.param.type.axes
        for here, name in self.layer.items():
            if axis in here.type.axes and axis not in axes:
                return f"{name}[0].shape[{here.type.axes.index(axis)}]"
        if axis.isdigit():
            return axis
        if axis in self.hypers:
            return f"int({self.names[self.hypers[axis]]})"
        if axis not in axes:
            raise fail("E601", None, construct=f"the axis `{axis}`, which `{self.param.name}` has not,")
        place = axes.index(axis)
        return f"{self.like}[0].shape[{place - len(axes) if REST in axes else place}]"

    def identity(self, here: Node) -> str:
        """The size of an identity matrix."""
        return self.size(here.attrs.axis)

    def read(self, roots: Iterable[Node]) -> list[Node]:
        """The axes whose sizes are read as numbers."""
        return list(dict.fromkeys(here for root in roots for here in root.walk() if here.role == "axis"))

    def special(self, here: Node) -> str | None:
        """Sizes and draws, as numbers."""
        if here.role == "draw" and here not in self.names:
            return self.draw(here)
        if here.op == "native":
            self.native = True
            return f"shape[{here.attrs.axis}]"
        if here.op == "size":
            axes = here.attrs.axes
            if set(axes) == set(self.param.type.axes):
                return f"{self.like}[0].numel()"
            return " * ".join(map(self.size, axes)) or "1"
        return None

    def draw(self, here: Node) -> str:
        """`random.normal(0, θ, 0, 1)`: the position in the file, what it is like, the parameters of the law."""
        random = self.laws[here.name]
        if random.law not in LAWS or not all(map(self.places.scalar, random.args)):
            raise fail("E601", here.span, construct=f"the draw `{here.name}` from this law in an optimizer")
        parameters = [self.scalars.text(arg) for arg in random.args]
        if not here.type.axes:
            return f"random.{random.law}({', '.join((str(random.position), 'None', *parameters))})"
        shape = ""
        if here.type.axes != self.param.type.axes:
            sizes = list(map(self.size, here.type.axes))
            shape = f", shape=({', '.join(sizes)}{',' * (len(sizes) == 1)})"
        return f"random.{random.law}({', '.join((str(random.position), self.like, *parameters))}{shape})"
