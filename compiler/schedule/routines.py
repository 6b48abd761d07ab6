"""Matrix work between two passes: products, factorisations, sums along other axes than the last, by a library.

    routines(places, roots)     what is done after each pass: what goes in, what comes out

A value with one number for each entry of the parameter goes in and comes out through a buffer. States of other shapes
(the statistics of Shampoo, the columns of Adafactor) are read and replaced by the library alone; their new values take
effect when the step is over, so that everything in it sees the old ones. A gradient elsewhere than at the parameters
also comes between two passes: the user's closure is asked for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dotopt.compiler.ir import Loop, Node
from dotopt.compiler.schedule.places import REDUCE, Place, Places, Unsupported, order

__all__ = ["Buffer", "Routine", "routines"]


@dataclass(frozen=True)
class Buffer:
    """An array with one number for each entry of the parameter. Kinds: param, gradient, state, scratch."""

    kind: str
    name: str
    node: Node


@dataclass(frozen=True)
class Routine:
    """Matrix work after pass number `after`: results by the buffers that hold them.

    `states` are the states of other shapes that it reads, by the leaf that stands for them; `kept` are the new values
    of such states, by name.
    """

    after: int
    inputs: Mapping[Node, Buffer]
    results: tuple[tuple[Buffer, Node], ...]
    states: Mapping[Node, str]
    kept: tuple[tuple[str, Node], ...]

    @property
    def asks(self) -> tuple[Node, ...]:
        """The gradients elsewhere than at the parameters that the user's closure is asked for."""
        return tuple(here for _, here in self.results if here.op == "oracle")

    @property
    def roots(self) -> tuple[Node, ...]:
        """All that it computes: the results, then what is kept."""
        return (*(here for _, here in self.results), *(here for _, here in self.kept))


def routines(places: Places, roots: Mapping[Node, Node], scratch_name: str = "scratch") -> tuple[Routine, ...]:
    """The library work, one routine a stage; `roots` are the new values by the leaf that holds the old one.

    Each value that goes in or comes out has a scratch buffer. Raises `Unsupported` for what a pass cannot take over.
    """
    results: dict[int, dict[Node, None]] = {}
    kept: dict[int, dict[str, Node]] = {}
    for here in order(roots.values()):
        if places(here) is not Place.LIBRARY:
            for arg in here.args:
                if places(arg) is Place.LIBRARY:
                    results.setdefault(places.stage(arg), {})[arg] = None
    for old, new in roots.items():
        if places(new) is Place.LIBRARY and new is not old:
            if old.type.axes == places.axes:
                results.setdefault(places.stage(new), {})[new] = None
            elif places.leaf(old) is Place.LIBRARY:
                kept.setdefault(places.stage(new), {})[old.name] = new
            else:
                raise Unsupported(f"matrix work makes {old.name}', of which a tensor or a row has one number")
    scratch: dict[Node, Buffer] = {}

    def room(here: Node) -> Buffer:
        return scratch.setdefault(here, Buffer("scratch", f"{scratch_name}{len(scratch)}", here))

    made = []
    for stage in sorted(results.keys() | kept.keys()):
        outer, inner = results.get(stage, {}), kept.get(stage, {})
        earlier = {here for before, some in results.items() if before < stage for here in some}
        inputs, states = _inputs(places, [*outer, *inner.values()], earlier)
        for here in outer:
            if here.type.axes != places.axes:
                raise Unsupported(f"{here!r} is a matrix of another shape than the parameter")
            if here.op == "oracle" and here.args[0] not in inputs:
                raise Unsupported(f"{here!r} is at a point that no pass computes")
        goes_in = {here: room(here) for here in inputs}
        comes_out = tuple((room(here), here) for here in outer)
        made.append(Routine(stage - 1, goes_in, comes_out, states, tuple(inner.items())))
    return tuple(made)


def _inputs(places: Places, roots: list[Node], earlier: set[Node]) -> tuple[list[Node], dict[Node, str]]:
    """What a routine for `roots` is given: values that passes or `earlier` routines made; states of other shapes."""
    inputs: list[Node] = []
    states: dict[Node, str] = {}
    seen: set[Node] = set()
    stack = roots[::-1]
    while stack:
        here = stack.pop()
        if here in seen:
            continue
        seen.add(here)
        if places(here) is Place.ELEMENT or here in earlier:
            inputs.append(here)
        elif here.role == "state" and places(here) is Place.LIBRARY:
            states[here] = here.name
        elif here.op in REDUCE and places(here) is not Place.LIBRARY:
            raise Unsupported(f"matrix work needs {here!r}, which a pass over entries adds up")
        else:
            stack += here.args[::-1]
            if here.op == "loop":
                _from_outside(places, here.attrs.body, seen, inputs, states)
    return inputs, states


def _from_outside(
    places: Places, body: Loop, seen: set[Node], inputs: list[Node], states: dict[Node, str]
) -> None:
    """What the passes of a loop read besides its variables: tensors go in, all else is computed in each pass."""
    stack = list(body.nodes)
    seen = seen | set(body.variables)
    while stack:
        here = stack.pop()
        if here in seen:
            continue
        seen.add(here)
        place = places.leaf(here) if here.role in ("param", "state") else Place.HOST
        if here.op == "oracle" and [arg.role for arg in here.args] == ["param"] and here not in inputs:
            inputs.append(here)
        elif here.op in (*REDUCE, "size") and here.attrs.model:
            raise Unsupported(f"the passes of a loop need {here!r}, which is one number for all tensors")
        elif place in (Place.TENSOR, Place.ROW):
            raise Unsupported(f"the passes of a loop need {here.name}, which is kept for a tensor or a row")
        elif place is Place.ELEMENT and here not in inputs:
            inputs.append(here)
        elif place is Place.LIBRARY:
            states[here] = here.name
        else:
            stack += here.children
    places.add(inputs)
