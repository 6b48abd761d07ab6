"""What both kernel languages need to know of a schedule: values in order, how often they are used, slots for sums."""

from __future__ import annotations

from dotopt.compiler.ir import Node, State, leaf, node, number
from dotopt.compiler.schedule.passes import Schedule
from dotopt.compiler.schedule.places import REDUCE, Place, Unsupported, order
from dotopt.grammar import spelling


class Facts:
    """The facts of one schedule. Slots: `sums` of pieces, `totals` of tensors, `rows`, `models` of the whole model.

    `arrays` names what a step touches: parameter, gradient, states, scratch, then the states that are one number for a
    tensor or a row (`small`). `kept` are the axes of a row.
    """

    def __init__(self, schedule: Schedule) -> None:
        program = schedule.program
        self.schedule, self.places = schedule, schedule.places
        self.labels, self.texts = schedule.labels, schedule.texts
        self.param = program.params[0].name
        self.small = [s for s in program.states if not s.shared and self._small(s)]
        self.arrays = [buffer.name for buffer in schedule.buffers] + [state.name for state in self.small]
        roots = [root for state in program.states if (root := state.next) is not None] + list(program.next.values())
        self.nodes = list(order(roots))
        self.uses: dict[Node, int] = {}
        self._divides: dict[Node, int] = {}
        for here in self.nodes:
            for arg in here.args:
                self.uses[arg] = self.uses.get(arg, 0) + 1
            if here.op == "div":
                self._divides[here.args[1]] = self._divides.get(here.args[1], 0) + 1
        self._exponentials = {here.args[0]: here for here in self.nodes if here.op == "exp"}
        for here in self.nodes:
            if here.op == "exp" and (other := self.opposite(here)) is not None:
                self.uses[other] = 2
        prefixes = {here.type.axes for here in self.nodes if self.places(here) is Place.ROW}
        if len(prefixes) > 1:
            raise Unsupported("it sums along two different sets of axes")
        self.kept: tuple[str, ...] = next(iter(prefixes), ())
        self.sums: dict[Node, int] = {}
        self.totals: dict[Node, int] = {}
        self.rows: dict[Node, int] = {}
        self.models: dict[Node, int] = {}
        for here in self.nodes:
            if here.op in REDUCE and self.places(here) is not Place.LIBRARY:
                self._slot(here)

    def _small(self, state: State) -> bool:
        """Whether passes see the state as one number for a tensor or a row; others belong to the library."""
        return self.places.leaf(leaf("state", state.name, state.type)) in (Place.TENSOR, Place.ROW)

    def _slot(self, here: Node) -> None:
        if self.places(here) is Place.ROW:
            self.rows[here] = len(self.rows)
            return
        if self.places(here) is Place.HOST:
            self.models[here] = len(self.models)
        self.totals[here] = len(self.totals)
        if self.places(here.args[0]) is Place.ELEMENT:
            self.sums[here] = len(self.sums)

    @property
    def along(self) -> tuple[str, ...]:
        """The axes inside a row."""
        return tuple(axis for axis in self.places.axes if axis not in self.kept)

    def identifier(self, here: Node, label: str | None) -> str:
        """The name that a value would like to have in code."""
        if label is None:
            if here.op == "leaf":
                return spelling.ascii(here.name)
            return "g" if here.op == "oracle" else "k" if self.places(here) is Place.HOST else "u"
        return spelling.ascii(label.rstrip("'")) + ("_next" if label.endswith("'") else "")

    def divides_often(self, here: Node) -> bool:
        """Whether it pays to compute one over `here` and multiply: if it is fixed in the loop, or divides twice."""
        return self.places(here) < Place.ELEMENT or self._divides.get(here, 0) > 1

    def reciprocal(self, here: Node) -> Node:
        """One over `here`."""
        inverse = node("div", number(1), here)
        self.places.add([inverse])
        self.uses[inverse] = 2
        return inverse

    def opposite(self, here: Node) -> Node | None:
        """For e^-z: e^z, if that is computed too."""
        inside = here.args[0]
        return self._exponentials.get(inside.args[0]) if inside.op == "neg" else None
