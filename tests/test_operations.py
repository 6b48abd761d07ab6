"""The table of operations: no column is missing, and the columns of each row agree with each other.

Judges from outside: mpmath to 40 digits for values, finite differences for derivatives, the parser of the language for
sentences, NumPy for the functions that kernels are given.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy

from dotopt.compiler.analysis.intervals import Interval, interval, stated
from dotopt.compiler.emit.kernels.triton import expression as triton
from dotopt.compiler.evaluate import evaluate
from dotopt.compiler.ir import FUNCTIONS, Node, leaf, node, number, sentence, substitute
from dotopt.compiler.lower import lower
from dotopt.compiler.ops import OPERATIONS, Absent, Operation, add, present
from dotopt.compiler.ops.row import COLUMNS, Axiom, Inline, Powers
from dotopt.compiler.parse import parse
from dotopt.compiler.prove.worlds import enclosures, numbers
from dotopt.compiler.text.source import Source

ROOT = Path(__file__).resolve().parent.parent
X, Y, Z = (leaf("free", name) for name in "xyz")
ONE, NOTHING = number(1), number(0)
POINTS = [Fraction(n, 16) for n in (-72, -33, -16, -15, -9, -5, -2, 0, 1, 4, 7, 13, 16, 18, 40, 77)]
ROUNDED = [name for name in FUNCTIONS if OPERATIONS[name].smooth != "steps"]


def domain(name: str) -> Iterator[Fraction]:
    """The points at which a function of one number has a value, by the sentence of its row."""
    condition = sentence(present(OPERATIONS[name].domain), X)
    return (x for x in POINTS if holds(condition, {X: x}))


def holds(condition: Node, at: dict[Node, Fraction]) -> bool:
    return bool(evaluate(condition, {here: float(x) for here, x in at.items()}))


def exact(name: str, x: Any) -> Any:
    with mpmath.workdps(40):
        value = x if isinstance(x, mpmath.mpf) else mpmath.mpf(x.numerator) / x.denominator
        return mpmath.mpf(present(OPERATIONS[name].exact)(mpmath.mp, value))


# ---- every column ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=OPERATIONS)
def test_every_column_is_given_or_absent_with_a_reason(row: Operation) -> None:
    for column in COLUMNS:
        entry = getattr(row, column)
        assert entry is not None and (not isinstance(entry, Absent) or len(entry.why) > 5), (row.name, column)
    for axiom in () if isinstance(row.axioms, Absent) else row.axioms:
        assert axiom.source
    if row.kind in ("number", "truth") and isinstance(row.derivative, tuple):
        assert len(row.derivative) == row.arity


def test_a_missing_column_is_refused() -> None:
    with pytest.raises(TypeError, match="exact"):
        replace(OPERATIONS["tanh"], exact=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="missing"):
        Operation(name="f", kind="number", means="", type=OPERATIONS["tanh"].type)  # type: ignore[call-arg]


def sentences() -> Iterator[str]:
    for row in OPERATIONS.values():
        derivative = row.derivative if isinstance(row.derivative, tuple) else ()
        axioms = () if isinstance(row.axioms, Absent) else row.axioms
        for text in (row.definition, row.domain, *derivative, *(t for a in axioms for t in (a.show, a.given))):
            if isinstance(text, str) and text != "true" and row.name != "select":  # whose x is a truth value
                yield text


@pytest.mark.parametrize("text", sorted(set(sentences())))
def test_the_language_reads_every_sentence_alike(text: str) -> None:
    found = sentence(text, X, Y, Z)
    truth = found.type.kind == "bool"
    given = "".join(f"input {name} : real\n" for name in "xyz")
    whole = f"1 if {text} else 0" if truth else f"sign({text})"
    file = parse(Source("f.opt", f"rule F\n{given}output o\no = {whole}\n"))
    (root,) = lower(file).outputs.values()
    table = {here: {"x": X, "y": Y, "z": Z}[here.name] for here in root.walk() if here.role == "input"}
    assert substitute(root, table) is (node("select", found, ONE, NOTHING) if truth else node("sign", found))


def test_attributes_are_read_by_their_names() -> None:
    """Outside the prover, where some are still read by their places."""
    fields = {name for row in OPERATIONS.values() for name in row.attributes._fields}  # type: ignore[attr-defined]
    for path in sorted([*(ROOT / "compiler").rglob("*.py"), *(ROOT / "runtime").rglob("*.py")]):
        if "prove" not in path.parts:
            text = path.read_text(encoding="utf-8")
            read = set(re.findall(r"\w\.attrs\.(\w+)", text)) - {"reduced", "_replace"}
            assert not re.search(r"\w\.attrs\[", text) and read <= fields, path


# ---- functions of one number ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float_exact_and_enclosure_agree(name: str) -> None:
    row = OPERATIONS[name]
    for x in domain(name):
        value = exact(name, x)
        if mpmath.isinf(value):
            continue
        found = float(present(row.numpy)(np, np.float64(x)))
        assert found == pytest.approx(float(value), rel=4e-15, abs=4e-16)
        with enclosures.enclosed(30):
            around = enclosures.function(name, enclosures.enclosure(x))
            wide = enclosures.function(name, mpmath.iv.mpf([float(x) - 0.01, float(x) + 0.01]))
        for found in (around, wide):
            assert found is None or (found.a <= value <= found.b), (x, found)
        if around is None:  # at an end of the domain: an interval around it would leave it
            assert not isinstance(row.definition, Absent) or x in (-1, 0, 1)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_intervals_hold_the_values_between_their_ends(name: str) -> None:
    points = sorted(domain(name))
    for low, high in zip(points, points[3:], strict=False):
        found = interval(node(name, X), {X: Interval(float(low), float(high))})
        for x in points:
            if low <= x <= high and not mpmath.isinf(value := exact(name, x)):
                assert mpmath.mpf(found.low) <= value <= mpmath.mpf(found.high), (low, high, x)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if OPERATIONS[name].definition])
def test_definitions(name: str) -> None:
    root = sentence(present(OPERATIONS[name].definition), X)
    for x in domain(name):
        value = float(exact(name, x))
        if np.isfinite(value):
            assert float(evaluate(root, {X: float(x)})) == pytest.approx(value, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_are_slopes(name: str) -> None:
    row, h = OPERATIONS[name], mpmath.mpf(10) ** -12
    (text,) = present(row.derivative)
    slope = sentence(text, X)
    for x in list(domain(name)):
        kink = x in (0, 1, -1) if row.smooth in ("kinks", "roots") else row.smooth == "steps" and x == int(x)
        if kink or not abs(x) < 6 or (name == "atanh" and abs(x) > 0.99):
            continue
        with mpmath.workdps(40):
            middle = mpmath.mpf(x.numerator) / x.denominator
            found = (exact(name, middle + h) - exact(name, middle - h)) / (2 * h)
        assert float(evaluate(slope, {X: float(x)})) == pytest.approx(float(found), rel=1e-10, abs=1e-12), x


@pytest.mark.parametrize("name", FUNCTIONS)
def test_facts(name: str) -> None:
    row = OPERATIONS[name]
    points = sorted(x for x in domain(name) if not mpmath.isinf(exact(name, x)))
    values = {x: exact(name, x) for x in points}
    within = stated(present(row.range))
    assert all(within.low <= value <= within.high for value in values.values())
    pairs = list(itertools.pairwise(points))
    match row.monotone:
        case "increasing":
            assert all(values[a] < values[b] for a, b in pairs)
        case "decreasing":
            assert all(values[a] > values[b] for a, b in pairs)
        case "nondecreasing":
            assert all(values[a] <= values[b] for a, b in pairs)
        case Absent():
            assert not all(values[a] <= values[b] for a, b in pairs)
    for x in points:
        if -x in values and not isinstance(row.parity, Absent):
            assert values[-x] == (values[x] if row.parity == "even" else -values[x])
        if isinstance(row.degree, Powers):
            (power,) = row.degree.of
            assert exact(name, 4 * x) == pytest.approx(4 ** float(Fraction(power)) * values[x])
    for at, value in () if isinstance(row.known, Absent) else row.known:
        with mpmath.workdps(40):
            assert exact(name, Fraction(at)) == pytest.approx(mpmath.mpf(eval(value, {"π": mpmath.pi})), abs=1e-30)
    outside = set(POINTS) - set(domain(name))
    with np.errstate(all="ignore"):
        assert not any(np.isfinite(present(row.numpy)(np, np.float64(x))) for x in outside)
    assert all(numbers.function(name)(x) is None for x in outside)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if OPERATIONS[name].sympy])
def test_sympy(name: str) -> None:
    row, x = OPERATIONS[name], sympy.Symbol("x", real=True)
    expression = present(row.sympy)(sympy, x)
    for at in domain(name):
        value = exact(name, at)
        if not mpmath.isinf(value):
            assert float(expression.subs(x, sympy.Rational(at.numerator, at.denominator)).evalf()) == pytest.approx(
                float(value), rel=1e-12, abs=1e-15
            )


# ---- axioms ----------------------------------------------------------------------------------------------------------


def axioms() -> Iterator[Any]:
    for row in OPERATIONS.values():
        for place, axiom in enumerate(() if isinstance(row.axioms, Absent) else row.axioms):
            yield pytest.param(axiom, id=f"{row.name} {place}")


def failure(axiom: Axiom) -> tuple[Fraction, ...] | None:
    """Values at which an axiom is false for certain, by enclosures of 40 digits."""
    show, given = sentence(axiom.show, X, Y, Z), sentence(axiom.given, X, Y, Z)
    few = [*POINTS[::2], Fraction(1), Fraction(-1)]
    free = [x for x in (X, Y, Z) if x in {*show.walk(), *given.walk()}]
    choices: list[tuple[Fraction, ...]] = [()]
    for _ in free:
        choices = [(*chosen, x) for chosen in choices for x in (POINTS if len(free) < 3 else few)]
    for chosen in choices:
        at = dict(zip(free, chosen, strict=True))
        if holds(given, at) and certainly(show, at) is False:
            return chosen
    return None


def certainly(root: Node, at: dict[Node, Fraction]) -> bool | None:
    """Whether a formula holds; None where intervals do not tell, or where something has no value."""
    with enclosures.enclosed(40):
        known: dict[Node, Any] = dict(at)
        for here in root.walk():
            if here not in known:
                known[here] = value(here, [known[arg] for arg in here.args])
        found: bool | None = known[root]
        return found


def value(here: Node, a: list[Any]) -> Any:
    from dotopt.compiler.prove.worlds.operations import FUNCTIONS as EXACT

    if here.op in ("const", "bool"):
        return here.attrs.value
    return numbers.pi() if here.op == "pi" else EXACT[here.op](*a)


@pytest.mark.parametrize("axiom", axioms())
def test_axioms_hold(axiom: Axiom) -> None:
    assert failure(axiom) is None


@pytest.mark.parametrize(
    "axiom",
    [
        Axiom("exp(x) >= 1.1 + x", ""), Axiom("tanh(x) < 0.99*x", "", "x > 0"), Axiom("acos(x) <= 0.5*π - x", ""),
        Axiom("x^z <= y^z", "", "x >= 0 and x <= y"), Axiom("erf(x) <= 1.12*x", "", "x >= 0"),
        Axiom("exp(x) >= exp(y)*(1.01 + x - y)", ""),
    ],
)  # fmt: skip
def test_false_axioms_are_found(axiom: Axiom) -> None:
    assert failure(axiom) is not None


# ---- kernels ---------------------------------------------------------------------------------------------------------


class _Language:
    """What the bodies of Triton use, by NumPy."""

    where, exp, log, sqrt, abs = map(staticmethod, (np.where, np.exp, np.log, np.sqrt, np.abs))


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if isinstance(OPERATIONS[name].triton, Inline)])
@pytest.mark.parametrize(("kind", "places"), [(np.float64, 8), (np.float32, 8)])
def test_bodies_for_triton(name: str, kind: Any, places: int) -> None:
    names: dict[str, Any] = {"tl": _Language}
    for text in triton.functions(f"{name}_(x)"):
        exec(text.removeprefix("@triton.jit\n"), names)
    function: Callable[[Any], Any] = names[f"{name}_"]
    points = sorted({kind(x) for x in domain(name)} | {kind(x) for x in (1e-4, -1e-4, 0.3, 0.49, 0.51, 0.62, 0.63)})
    for x in points:
        with np.errstate(all="ignore"):
            found = function(x)
        right = exact(name, mpmath.mpf(float(x)))
        if not mpmath.isinf(right):
            assert abs(mpmath.mpf(float(found)) - right) <= places * np.finfo(kind).eps * abs(right), (x, found)


# ---- a new operation -------------------------------------------------------------------------------------------------


def test_an_operation_is_one_row(tmp_path: Path) -> None:
    """A row that is added before the rooms are imported is read by all of them."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "new_operation.py"), str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert said["claims"] == "proved proved proved refuted"
    assert said["derivative"] == "-(sech(x)*tanh(x))"
    assert said["interval"] == "(0, 1]"
    assert r"\operatorname{sech}" in said["latex"]
    assert "entrywise(" in said["torch"] and "sech_float" in said["cpu"] and "sech_(" in said["triton"]
    assert {said[x] for x in ("stepped with torch", "stepped with cpu", "stepped with triton", "reference")} == {"True"}


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="tanh"):
        add(OPERATIONS["tanh"])
