"""The order that nobody writes: what each equation of a step reads, circles among them, and what reaches nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dotopt.compiler.resolve.names import Binding, Scope
from dotopt.compiler.text.errors import Diagnostic, Edit, Label, diagnostic
from dotopt.compiler.text.source import Span

Value = tuple[Binding, bool]  # a name, and whether it is its next value


@dataclass(eq=False, slots=True)
class Reads:
    """Which values an expression reads, and where."""

    places: dict[Value, list[Span]] = field(default_factory=dict)

    def add(self, binding: Binding, primed: bool, span: Span) -> None:
        """Note one reading."""
        self.places.setdefault((binding, primed), []).append(span)


@dataclass(eq=False, slots=True)
class Dependency:
    """What one equation, draw or loop defines and reads; `root` if it must be computed in any case."""

    defines: tuple[Value, ...]
    reads: Reads
    span: Span
    scope: Scope
    root: bool = False
    start: bool = False  # holds at the first step only: `state p = first e`
    branch: tuple[tuple[int, bool], ...] = ()


def circles(equations: list[Dependency]) -> list[Diagnostic]:
    """One diagnostic for each circle among the equations of one step: of any later one, and of the first."""
    found: list[Diagnostic] = []
    for first_step in (False, True):
        for side in (False, True):
            taken = [
                equation
                for equation in equations
                if (first_step or not equation.start) and all(chosen == side for _, chosen in equation.branch)
            ]
            for circle in _circles(taken):
                message = _message(circle)
                if all(message.span != other.span for other in found):
                    found.append(message)
    return found


def _circles(equations: list[Dependency]) -> Iterable[list[tuple[Value, Dependency]]]:
    defined = {value: equation for equation in equations for value in equation.defines}
    state: dict[Value, int] = {}  # 1: on the way, 2: done
    for start in defined:
        if start in state:
            continue
        way: list[Value] = [start]
        pending = [iter(defined[start].reads.places)]
        state[start] = 1
        while way:
            following = next((value for value in pending[-1] if value in defined and state.get(value) != 2), None)
            if following is None:
                state[way.pop()] = 2
                pending.pop()
            elif state.get(following) == 1:
                circle = way[way.index(following) :]
                yield [(value, defined[value]) for value in circle]
                for value in way:
                    state[value] = 2
                break
            else:
                state[following] = 1
                way.append(following)
                pending.append(iter(defined[following].reads.places))


def _message(circle: list[tuple[Value, Dependency]]) -> Diagnostic:
    names = [_spelled(value) for value, _ in circle]
    (binding, _), equation = circle[0]
    if len(circle) == 1 and binding.kind == "local function":
        return diagnostic("E218", equation.reads.places[circle[0][0]][0], name=binding.name)
    following = [*circle[1:], circle[0]]
    pairs = [(_spelled(left), _spelled(right)) for (left, _), (right, _) in zip(circle, following, strict=True)]
    needs = [f"{left} needs {'itself' if left == right else right}" for left, right in pairs]
    labels = tuple(Label(entry.span, need) for (_, entry), need in zip(circle[1:], needs[1:], strict=True))
    help, edit = None, None
    for (_, entry), (target, _) in zip(circle, following, strict=True):
        places = entry.reads.places[target]
        if target[1] and target[0].kind in ("state", "param", "loop") and len(places) == 1:
            help = f"did you mean the value before the step? Read `{target[0].name}` without the prime"
            edit = Edit(places[0], places[0].text.rstrip("'′"))
            break
    cycle = " -> ".join(f"`{name}`" for name in [*names, names[0]])
    return diagnostic("E206", equation.span, cycle=cycle, labels=labels, remark=needs[0], help=help, edit=edit)


def _spelled(value: Value) -> str:
    return value[0].name + ("'" if value[1] else "")


def reached(equations: list[Dependency], read: Iterable[Value]) -> set[Binding]:
    """The names that the roots and the values in `read` need, directly or not."""
    definers: dict[Binding, list[Dependency]] = {}
    for equation in equations:
        for binding, _ in equation.defines:
            definers.setdefault(binding, []).append(equation)
    found: set[Binding] = set()
    waiting = [binding for binding, _ in read]
    for equation in equations:
        if equation.root:
            waiting.extend(binding for binding, _ in equation.reads.places)
    while waiting:
        binding = waiting.pop()
        if binding not in found:
            found.add(binding)
            for equation in definers.get(binding, ()):
                waiting.extend(other for other, _ in equation.reads.places)
                waiting.extend(other for other, _ in equation.defines)  # siblings of `a, b = F(…)`
    return found
