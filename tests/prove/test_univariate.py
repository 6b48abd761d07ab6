"""P7: inequalities in one variable, by Sturm's theorem, intervals and the signs of derivatives; true and false ones."""

from fractions import Fraction
from pathlib import Path

import mpmath
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dotopt.compiler.parse import parse
from dotopt.compiler.prove import ClaimReport, check_claim
from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.procedures.elementary import at, bound, product, shows, signs
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source


def decide(claim: str) -> ClaimReport:
    body = "\n".join("  " + line for line in claim.splitlines())
    file = parse(Source("u.opt", f"theorem U\nfor all a, b, x : real[d]\n\nclaim one:\n{body}\n"))
    return check_claim(file, file.claims[0], Library(Path(".")))


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("given a >= 0\nshow tanh(a) <= a", "show tanh(a) <= a"),
        ("show exp(a) >= 1 + a + a^2/2 + a^3/6", "show exp(a) >= 1 + a + a^2/2"),
        ("show (exp(a) + exp(-a))/2 >= 1 + a^2/2", "show (exp(a) + exp(-a))/2 >= 1 + a^2"),
        ("show cos(a) >= 1 - a^2/2", "show cos(a) >= 1 - a^2/3"),
        ("show cos(a) <= 1 - a^2/2 + a^4/24", "show cos(a) <= 1 - a^2/2"),
        ("given 0 <= x <= 1\nshow sin(x) <= x", "given -1 <= x <= 1\nshow sin(x) <= x"),
        ("given 0.68 <= a <= 1.14\nshow 3.4445*a - 4.7750*a^3 + 2.0315*a^5 <= 1.14",
         "given 0.68 <= a <= 1.14\nshow 3.4445*a - 4.7750*a^3 + 2.0315*a^5 <= 1.13"),
        ("show a^4 - 2*a^2 + 1 >= 0", "show a^4 - 2*a^2 + 0.9 >= 0"),
        ("given 0 <= a <= 1\nshow a*(1 - a) >= 0", "given 0 <= a <= 2\nshow a*(1 - a) >= 0"),
    ],
)  # fmt: skip
def test_each_true_one_is_proved_and_its_false_neighbour_refuted(true: str, false: str) -> None:
    report = decide(true)
    assert report.status == "proved", report
    assert report.certificate is not None and verify(report.certificate)
    assert decide(false).status == "refuted"


def test_a_pole_changes_signs() -> None:
    falling = ["sub", "0", ["div", "1", "x"]]  # -1/x: positive at -1, rising everywhere, negative at 1
    assert not shows(falling, Fraction(-1), None, False, ["right", ["sturm"]])


@pytest.mark.parametrize("step", [["right", ["pieces", []]], ["pieces", ["0"]], ["sturm"], ["split", "0", [], []], []])
def test_a_forged_step_shows_nothing(step: object) -> None:
    assert not shows(["sub", "x", ["exp", "x"]], Fraction(-1), Fraction(1), False, step)


ROOTS = st.lists(st.fractions(-4, 4, max_denominator=2), max_size=4)
ENDS = st.none() | st.fractions(-4, 4, max_denominator=2)


@settings(max_examples=150, deadline=None)
@given(ROOTS, ENDS, ENDS, st.booleans(), st.sampled_from([1, -1]))
@example([Fraction(0)], None, Fraction(-4), False, -1)
def test_signs_of_polynomials(
    roots: list[Fraction], low: Fraction | None, high: Fraction | None, strict: bool, lead: int
) -> None:
    if low is not None and high is not None and high < low:
        low, high = high, low
    p = [Fraction(lead)]
    for r in roots:
        p = product(p, [-r, Fraction(1)])
    places = [Fraction(k, 8) for k in range(-80, 81)]
    inside = [x for x in (*places, *(e for e in (low, high) if e is not None)) if low is None or x >= low]
    inside = [x for x in inside if high is None or x <= high]
    assert signs(p, low, high, strict) == all(at(p, x) > 0 if strict else at(p, x) >= 0 for x in inside)


TREES = st.recursive(
    st.sampled_from(["x", "1", "-1/2", "3"]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["add", "sub", "mul", "div"]), inner, inner).map(list),
        st.tuples(st.sampled_from(["exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid"]), inner).map(list),
        st.tuples(st.just("pow"), inner, st.sampled_from(["2", "3", "-1"])).map(list),
    ),
    max_leaves=5,
)
FLOATS = {"log": mpmath.log, "sqrt": mpmath.sqrt, "sin": mpmath.sin, "cos": mpmath.cos, "tanh": mpmath.tanh}


def value(tree: object, x: mpmath.mpf) -> mpmath.mpf:
    if isinstance(tree, str):
        return x if tree == "x" else mpmath.mpf(Fraction(tree).numerator) / Fraction(tree).denominator
    assert isinstance(tree, list)
    if tree[0] == "pow":
        return value(tree[1], x) ** int(tree[2])
    a = [value(t, x) for t in tree[1:]]
    match tree[0]:
        case "add":
            return a[0] + a[1]
        case "sub":
            return a[0] - a[1]
        case "mul":
            return a[0] * a[1]
        case "div":
            return a[0] / a[1]
        case "exp":
            return mpmath.exp(a[0]) if a[0] < 900 else mpmath.inf
        case "sigmoid":
            return 1 / (1 + (mpmath.exp(-a[0]) if a[0] > -900 else mpmath.inf))
    return FLOATS[tree[0]](a[0])


@settings(max_examples=150, deadline=None)
@given(TREES, st.fractions(-3, 3, max_denominator=4), st.fractions(0, 3, max_denominator=4), st.floats(0, 1))
def test_bounds_hold_every_value(tree: object, low: Fraction, width: Fraction, part: float) -> None:
    found = bound(tree, low, low + width)
    if found is None:
        return
    x = mpmath.mpf(low.numerator) / low.denominator + mpmath.mpf(part) * float(width)
    here = value(tree, x)
    slack = mpmath.mpf(10) ** -9 * (1 + abs(here)) if mpmath.isfinite(here) else 0
    assert mpmath.mpf(found.a.mid) - slack <= here <= mpmath.mpf(found.b.mid) + slack
