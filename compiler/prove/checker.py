"""Verifies certificates again, apart from the engine that found them: polynomial arithmetic only, no SymPy.

nf-zero                       two quotients that must be equal: in every case the cross product vanishes, after the
                              laws of roots (s² is what stands below) and the values that premises and cases put in
multipliers                   goal - Σ multiplier * inequality - Σ weight * square must vanish, and each multiplier
                              must be >= 0 (its part; where there are squares, it is a number)
elementary                    a function of one variable: Sturm's theorem, intervals of mpmath, signs of derivatives
trees                         the coefficient of every tree must vanish
smt-unsat                     an SMT-LIB question that z3 must still find unsatisfiable
truth, counterexample         nothing to verify
others                        their parts

polynomial = [[coefficient, [[atom, power], …]], …]
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import lcm
from typing import Any

from dotopt.compiler.prove.procedures.elementary import shows

Terms = dict[tuple[tuple[str, int], ...], Fraction]


def verify(certificate: dict[str, Any], milliseconds: int = 2000) -> bool:
    """Whether the certificate shows what it says.

    >>> one, x = [["1", []]], [["1", [["x", 1]]]]
    >>> shape = {"kind": "nf-zero", "laws": {}, "values": {}, "cases": [{}]}
    >>> verify({**shape, "left": [x, x], "right": [one, one]}), verify({**shape, "left": [x, one], "right": [one, one]})
    (True, False)
    """
    match certificate.get("kind"):
        case "truth":
            return bool(certificate["value"])
        case "counterexample":
            return bool(certificate["values"])
        case "smt-unsat":
            return unsatisfiable(certificate["smtlib"], milliseconds)
        case "nf-zero":
            excluded = certificate.get("excluded", [])
            return (
                covered([*certificate["cases"], *(case for case, _ in excluded)])
                and all(equal(certificate, case) for case in certificate["cases"])
                and all(verify(question, milliseconds) for _, question in excluded)
            )
        case "elementary":
            low, high = (None if e is None else Fraction(e) for e in (certificate["from"], certificate["to"]))
            return shows(certificate["function"], low, high, bool(certificate["strict"]), certificate["step"])
        case "multipliers":
            total = collect(certificate["goal"])
            for multiplier, inequality in certificate["products"]:
                for monomial, c in product(collect(multiplier), collect(inequality)).items():
                    add(total, dict(monomial), -c)
            signs = parts(certificate["parts"], milliseconds)
            if "squares" in certificate:
                signs = signs and subtracted(total, certificate)
            return not cleared(total, certificate) and signs
        case "trees":
            return all(
                not cleared(collect(row["coefficient"]), certificate, row["zeros"]) for row in certificate["rows"]
            )
        case (
            "induction"
            | "symmetry"
            | "equivalence"
            | "stability"
            | "cases"
            | "all"
            | "conjugate"
            | "interval"
            | "sturm"
        ):
            return bool(certificate["parts"]) and parts(certificate["parts"], milliseconds)
    return False


def covered(cases: list[dict[str, int]]) -> bool:
    """Whether the cases, each a choice of 0 or 1 for some conditions, leave none out.

    >>> covered([{"a": 1}, {"a": 0, "b": 1}, {"b": 0}]), covered([{"a": 1}, {"b": 1}])
    (True, False)
    """
    if {} in cases or not cases:
        return bool(cases)
    split = next(iter(cases[0]))
    return all(
        covered([{a: v for a, v in case.items() if a != split} for case in cases if case.get(split, value) == value])
        for value in (0, 1)
    )


def parts(certificates: Iterable[dict[str, Any]], milliseconds: int) -> bool:
    """Whether all of them verify."""
    return all(verify(part, milliseconds) for part in certificates)


def subtracted(total: Terms, certificate: dict[str, Any]) -> bool:
    """Takes the squares of combinations of vectors from `total`; whether weights and multipliers are numbers >= 0."""
    inner = {frozenset((v, w)): (((name, 1),), Fraction(1)) for name, v, w in certificate["inner"]}
    for weight, combination in certificate["squares"]:
        for c, v in combination:
            for k, w in combination:
                if frozenset((v, w)) not in inner:
                    return False
                monomial, one = inner[frozenset((v, w))]
                add(total, dict(monomial), -Fraction(weight) * Fraction(c) * Fraction(k) * one)
    numbers = [collect(multiplier) for multiplier, _ in certificate["products"]]
    weights = [Fraction(weight) for weight, _ in certificate["squares"]]
    return all(set(p) <= {()} and p.get((), 0) >= 0 for p in numbers) and all(weight >= 0 for weight in weights)


def equal(certificate: dict[str, Any], case: dict[str, int]) -> bool:
    """Whether left = right in one case, as quotients."""
    laws = {a: collect(rows) for a, rows in certificate["laws"].items()}
    values = {a: collect(rows) for a, rows in certificate["values"].items()}
    values |= {a: {(): Fraction(v)} if v else {} for a, v in case.items()}
    (top, bottom), (other_top, other_bottom) = (
        [collect(rows) for rows in certificate[side]] for side in ("left", "right")
    )
    if not bottom or not other_bottom:
        return False
    if bottom != other_bottom:
        top, other_top = product(top, other_bottom), product(other_top, bottom)
    difference = dict(top)
    for monomial, c in other_top.items():
        add(difference, dict(monomial), -c)
    return not reduce(difference, laws, values)


def reduce(total: Terms, laws: dict[str, Terms], values: dict[str, Terms]) -> Terms:
    """`total` with squares of roots replaced by what is below them and atoms by values, until nothing changes."""
    for _ in range(60):
        total = {m: c for m, c in total.items() if c}
        found = next(((a, p) for m in total for a, p in m if (a in values and p > 0) or (a in laws and p >= 2)), None)
        if found is None:
            return total
        a = found[0]
        step, new = (1, values[a]) if a in values else (2, laws[a])
        result: Terms = {}
        for monomial, c in total.items():
            powers = dict(monomial)
            if powers.get(a, 0) < step:
                add(result, powers, c)
                continue
            powers[a] -= step
            for m, k in product({tuple(sorted(powers.items())): c}, new).items():
                add(result, dict(m), k)
        total = result
    return total


def cleared(total: Terms, certificate: dict[str, Any], zeros: Iterable[str] = ()) -> Terms:
    """A numerator of `total` after constants are put in and quotients are multiplied out."""
    quotients: dict[str, tuple[Terms, Terms]] = {
        a: ({(): Fraction(1)}, collect(rows)) for a, rows in certificate["inverses"].items()
    }
    quotients |= {a: (collect(n), collect(d)) for a, (n, d) in certificate["values"].items()}
    for _ in range(60):
        most: dict[str, int] = {}
        for monomial in total:
            for a, p in monomial:
                if a in quotients or p < 0:
                    most[a] = max(most.get(a, 0), abs(p))
        if not most:
            break
        result: Terms = {}
        for monomial, c in total.items():
            powers = dict(monomial)
            here: Terms = {tuple(sorted((a, p) for a, p in powers.items() if a not in most)): c}
            for a, m in most.items():
                itself: Terms = {((a, 1),): Fraction(1)}
                one: Terms = {(): Fraction(1)}
                top, bottom = quotients.get(a, (itself, one))
                p = powers.get(a, 0)
                for _ in range(p if a in quotients else m + p):
                    here = product(here, top)
                for _ in range(m - p if a in quotients else 0):
                    here = product(here, bottom)
            for n, k in here.items():
                add(result, dict(n), k)
        total = {m: c for m, c in result.items() if c}
    return reduce(total, {}, {a: {} for a in zeros})


def product(left: Terms, right: Terms) -> Terms:
    """The product of two polynomials, with a whole number for each monomial: those of a product add up.

    >>> x, one = {(("x", 1),): Fraction(1)}, {(): Fraction(1)}
    >>> product({**x, **one}, {**x, (): Fraction(-1)})
    {(('x', 2),): Fraction(1, 1), (): Fraction(-1, 1)}
    """
    atoms = sorted({a for m in (*left, *right) for a, _ in m})
    place = {a: WIDTH * i for i, a in enumerate(atoms)}
    (first, below), (second, below_second) = packed(left, place), packed(right, place)
    total: dict[int, int] = {}
    for m, c in first:
        for n, k in second:
            total[m + n] = total.get(m + n, 0) + c * k
    below *= below_second
    return {unpacked(m, atoms): Fraction(c, below) for m, c in total.items() if c}


WIDTH = 32  # bits for a power


def packed(terms: Terms, place: dict[str, int]) -> tuple[list[tuple[int, int]], int]:
    """The terms as pairs of whole numbers over one denominator; raises `ValueError` for powers that do not fit."""
    if any(abs(p) >= 1 << (WIDTH - 3) for m in terms for _, p in m):
        raise ValueError("a power out of all proportion")
    below = lcm(*(c.denominator for c in terms.values()))
    return [(sum(p << place[a] for a, p in m), c.numerator * (below // c.denominator)) for m, c in terms.items()], below


def unpacked(code: int, atoms: list[str]) -> tuple[tuple[str, int], ...]:
    """The monomial with this code."""
    powers = []
    for a in atoms:
        power = ((code + (1 << (WIDTH - 1))) & ((1 << WIDTH) - 1)) - (1 << (WIDTH - 1))
        code = (code - power) >> WIDTH
        if power:
            powers.append((a, power))
    return tuple(powers)


def collect(rows: list[list[Any]]) -> Terms:
    """The terms of a polynomial, equal monomials added up."""
    total: Terms = {}
    for coefficient, monomial in rows:
        powers: dict[str, int] = {}
        for a, power in monomial:
            powers[a] = powers.get(a, 0) + power
        key = tuple(sorted((a, p) for a, p in powers.items() if p))
        total[key] = total.get(key, Fraction(0)) + Fraction(coefficient)
    return {m: c for m, c in total.items() if c}


def add(total: Terms, powers: dict[str, int], c: Fraction) -> None:
    """Adds one term."""
    key = tuple(sorted((a, p) for a, p in powers.items() if p))
    total[key] = total.get(key, Fraction(0)) + c


def unsatisfiable(smtlib: str, milliseconds: int) -> bool:
    """Whether z3 still finds no model."""
    import z3

    solver = z3.Solver()
    solver.set("timeout", milliseconds)
    solver.from_string(smtlib)
    return bool(solver.check() == z3.unsat)
