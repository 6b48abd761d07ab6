"""The property "the reference computes what the equations say": against SymPy's `lambdify`, equation by equation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dotopt.compiler.ir import Node, node
from dotopt.runtime.property.example import program
from dotopt.runtime.property.outcome import Failed, Outcome, Untested
from dotopt.runtime.property.search import Budget, Disagreement, search

if TYPE_CHECKING:
    from dotopt.compiler.analysis.symbolic import Step

RELATIVE = 1e-9
PERTURBED = 8  # how many points nearby say how badly conditioned an equation is


def equations(cls: Any, options: Mapping[str, bool | str], budget: Budget) -> Outcome:
    """Whether the judge and `lambdify` agree on every equation of a rule with these options, at random points."""
    from dotopt.compiler.analysis import symbolic

    rank = next(
        rank for rank in (1, 2, 3) if cls.rule.pattern.misfit(rank) is None and rank >= len(cls.rule.pattern.axes)
    )
    source = program(cls.origin, tuple(options.values()), rank)
    named = dict.fromkeys((axis for p in source.params for axis in p.type.axes), 2)
    sizes = named | {"…": 2, "cols": 3}
    try:
        step = symbolic.step(source, sizes, rank)
    except symbolic.Unsupported as error:
        return Untested(f"the step is not written out for lambdify: {error}")
    compiled = [(written, *symbolic.functions(written)) for written in step.equations]
    root = node("tuple", *(written.node for written in step.equations))

    def check(point: Mapping[Node, Any]) -> None:
        wanted = judged(root, point)
        values: dict[Any, float] = {}
        for here, symbols in step.leaves.items():
            values.update(zip(np.ravel(symbols), np.ravel(point[here]).astype(float), strict=True))
        for index, (written, free, function) in enumerate(compiled):
            with np.errstate(all="ignore"):
                found = np.array([float(x) for x in function([values[s] for s in free])])
            judge = np.ravel(np.asarray(wanted[index], dtype=float))
            allowed = None
            for k, (w, f) in enumerate(zip(judge, found, strict=True)):
                if not math.isfinite(w) or abs(f - w) <= RELATIVE * abs(w) + 1e-300:
                    continue
                allowed = allowed or _spread(root, point, index)
                if not abs(f - w) <= RELATIVE * abs(w) + allowed[k]:
                    failed = _failed(cls, options, written, k, (w, f), point, (sizes, rank))
                    raise Disagreement(failed, (len(repr(point)),))
            values.update(zip(np.ravel(written.symbols), judge, strict=True))

    return search(points(cls, options, step, sizes), check, budget)


def judged(root: Node, point: Mapping[Node, Any]) -> Any:
    """The values of the judge."""
    from dotopt.compiler.evaluate import evaluate

    return evaluate(root, point)


def _spread(root: Node, point: Mapping[Node, Any], index: int) -> list[float]:
    """How far the judge moves for data that are off by a few roundings; infinite where it may cease to be a number."""
    exact = np.ravel(np.asarray(judged(root, point)[index], dtype=float))
    found = np.zeros(exact.shape)
    for seed in range(PERTURBED):
        rng = np.random.default_rng(seed)
        moved = {
            here: value if here.role == "time" else value * (1 + 1e-15 * rng.uniform(-1, 1, np.shape(value)))
            for here, value in point.items()
        }
        other = np.ravel(np.asarray(judged(root, moved)[index], dtype=float))
        found = np.maximum(found, np.where(np.isfinite(other), np.abs(other - exact), np.inf))
    return list(100 * found)


def points(cls: Any, options: Mapping[str, bool | str], step: Step, sizes: Mapping[str, int]) -> Any:
    """Random values for the leaves of a step."""
    from hypothesis import strategies as st

    from dotopt.runtime.property.draw import hyperparameters, tensors

    @st.composite
    def drawn(draw: st.DrawFn) -> dict[Node, Any]:
        given = draw(hyperparameters(cls.rule, options))
        numbers = {h.name: h.of(given) for h in cls.rule.hypers}
        positive = draw(st.booleans())
        found: dict[Node, Any] = {}
        for here in sorted(step.leaves, key=lambda leaf: leaf.name):
            shape = tuple(sizes[axis] for axis in here.type.axes)
            match here.role:
                case "hyper":
                    found[here] = np.asarray(float(numbers[here.name]))
                case "time":
                    found[here] = np.asarray(float(draw(st.integers(1, 12))))
                case "state":
                    found[here] = draw(tensors(shape, 1 if positive else -16))
                case _:
                    found[here] = draw(tensors(shape))
        return found

    return drawn()


def _failed(
    cls: Any,
    options: Mapping[str, bool | str],
    written: Any,
    k: int,
    sides: tuple[float, float],
    point: Mapping[Node, Any],
    shape: tuple[Any, int],
) -> Failed:
    used = [here for here in written.node.walk() if here in point]
    lines = [
        f"{cls.rule.name}: the reference and SymPy differ on `{written.label}`, entry {k}",
        f"    {written.label} = {written.node!r}",
        f"  reference {float(sides[0])!r}",
        f"  lambdify  {float(sides[1])!r}",
        *(f"  {here.name} = {point[here].tolist()}" for here in used),
    ]
    return Failed("\n".join(lines), _snippet(cls, options, written, point, shape))


def _snippet(
    cls: Any, options: Mapping[str, bool | str], written: Any, point: Mapping[Node, Any], shape: tuple[Any, int]
) -> str:
    from dotopt.runtime.property.reproducer import class_line, literal

    sizes, rank = shape
    return "\n".join(
        [
            "import numpy as np",
            "from dotopt.compiler.analysis import symbolic",
            "from dotopt.compiler.evaluate import evaluate",
            "from dotopt.runtime.loading.load import program",
            class_line(cls),
            "",
            f"step = symbolic.step(program(Rule.origin, {tuple(options.values())!r}, {rank}), {dict(sizes)!r}, {rank})",
            f"equation = next(e for e in step.equations if e.label == {written.label!r})",
            f"given = {{{', '.join(f'{here.name!r}: {literal(value)}' for here, value in point.items())}}}",
            "print(equation.node)",
            "print('SymPy    ', equation.entries)",
            "print('reference', evaluate(equation.node, {here: given[here.name] for here in step.leaves}))",
        ]
    )


def specialisations(cls: Any) -> Iterator[dict[str, bool | str]]:
    """The default options, and each other value of each option alone."""
    defaults = {option.keyword: option.default for option in cls.rule.options}
    yield defaults
    for option in cls.rule.options:
        for value in option.values:
            if value != option.default:
                yield defaults | {option.keyword: value}
