"""Verifies certificates again, apart from the engine that found them: polynomial arithmetic only, no SymPy.

nf-zero                       two quotients that must be equal: in every case the cross product vanishes, after the
                              laws of roots (s² is what stands below) and the values that premises and cases put in
multipliers                   goal - Σ multiplier * inequality - Σ weight * square must vanish, and each multiplier
                              must be >= 0 (its part; where there are squares, it is a number)
elementary                    a function of one variable: Sturm's theorem, intervals of mpmath, signs of derivatives
trees                         the coefficient of every tree must vanish
positive                      formulas that exclude each other, the last of them what is denied: in each case a sum
                              of products of inequalities is zero although something in it is positive
smt-unsat                     the same without a proof: z3 must still find no values for it
truth, counterexample         nothing to verify
others                        their parts

polynomial = [[coefficient, [[atom, power], …]], …]
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from dotopt.compiler.prove.procedures.elementary import shows
from dotopt.compiler.prove.terms import Terms, add, collect, polynomial, product


def verify(certificate: dict[str, Any], about: str | None = None, work: int = 2_000_000) -> bool:
    """Whether the certificate shows what it says, and is `about` a claim, given as the hash of what is claimed.

    That the statements in it say what the claim says is not verified: reading the claim is the engine's part. Where
    `work` is 0, z3 is not asked: what it found when the certificate was made is trusted.

    >>> one, x = [["1", []]], [["1", [["x", 1]]]]
    >>> shape = {"kind": "nf-zero", "laws": {}, "values": {}, "cases": [{}]}
    >>> verify({**shape, "left": [x, x], "right": [one, one]}), verify({**shape, "left": [x, one], "right": [one, one]})
    (True, False)
    """
    try:
        return (about is None or certificate["about"] == about) and verified(certificate, work)
    except (ValueError, LookupError, TypeError, AttributeError, ZeroDivisionError):
        return False  # not of the form that its kind has


def verified(certificate: dict[str, Any], work: int) -> bool:
    """Whether the certificate shows what it says; raises what malformed data raises."""
    match certificate["kind"]:
        case "truth":
            return bool(certificate["value"])
        case "counterexample":
            return bool(certificate["values"])
        case "smt-unsat":
            return unsatisfiable(certificate, work)
        case "positive":
            return impossible(certificate)
        case "nf-zero":
            excluded = certificate.get("excluded", [])
            return (
                covered([*certificate["cases"], *(case for case, _ in excluded)])
                and all(equal(certificate, case) for case in certificate["cases"])
                and all(excludes(question, case) and verified(question, work) for case, question in excluded)
            )
        case "elementary":
            low, high = (None if e is None else Fraction(e) for e in (certificate["from"], certificate["to"]))
            return shows(certificate["function"], low, high, bool(certificate["strict"]), certificate["step"])
        case "multipliers":
            total = collect(certificate["goal"])
            for multiplier, inequality in certificate["products"]:
                for monomial, c in product(collect(multiplier), collect(inequality)).items():
                    add(total, dict(monomial), -c)
            if "squares" in certificate:
                return subtracted(total, certificate) and not cleared(total, certificate)
            return not cleared(total, certificate) and all(
                never_negative(collect(multiplier), part, certificate, work)
                for (multiplier, _), part in zip(certificate["products"], certificate["parts"], strict=True)
            )
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
            return bool(certificate["parts"]) and parts(certificate["parts"], work)
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


def excludes(question: dict[str, Any], case: dict[str, int]) -> bool:
    """Whether what the question denies is this case of one condition: condition = value."""
    ((condition, value),) = case.items()
    relation, p = question["formulas"][-1]
    wanted: Terms = {((condition, 1),): Fraction(1)} | ({(): Fraction(-value)} if value else {})
    return bool(relation == "=" and polynomial(p) == wanted)


def never_negative(multiplier: Terms, part: dict[str, Any], certificate: dict[str, Any], work: int) -> bool:
    """Whether the part shows that a multiplier is not negative: what it denies is numerator * denominator < 0."""
    if not verified(part, work):
        return False
    if set(multiplier) <= {()}:
        return multiplier.get((), Fraction(0)) >= 0
    top, bottom = quotient(multiplier, certificate)
    relation, p = part["formulas"][-1]
    negative = {m: -value for m, value in product(top, bottom).items()}
    return bool(relation == ">" and polynomial(p) == negative)


def parts(certificates: Iterable[dict[str, Any]], work: int) -> bool:
    """Whether all of them verify."""
    return all(verified(part, work) for part in certificates)


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
    if not all(reduce(p, laws, values) for p in (bottom, other_bottom)):
        return False  # a side that has no value in this case
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
    return reduce(quotient(total, certificate)[0], {}, {a: {} for a in zeros})


def quotient(total: Terms, certificate: dict[str, Any]) -> tuple[Terms, Terms]:
    """Numerator and denominator of `total` after constants are put in and quotients are multiplied out.

    Raises `ValueError` for a denominator that is zero.
    """
    bottom_of_all: Terms = {(): Fraction(1)}
    quotients: dict[str, tuple[Terms, Terms]] = {
        a: ({(): Fraction(1)}, collect(rows)) for a, rows in certificate["inverses"].items()
    }
    quotients |= {a: (collect(n), collect(d)) for a, (n, d) in certificate["values"].items()}
    if not all(bottom for _, bottom in quotients.values()):
        raise ValueError("a quotient by zero")
    for _ in range(60):
        most: dict[str, int] = {}
        for monomial in total:
            for a, p in monomial:
                if a in quotients or p < 0:
                    most[a] = max(most.get(a, 0), abs(p))
        if not most:
            return total, bottom_of_all
        for a, m in most.items():
            below: Terms = quotients[a][1] if a in quotients else {((a, 1),): Fraction(1)}
            for _ in range(m):
                bottom_of_all = product(bottom_of_all, below)
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
    raise ValueError("quotients nested too deep")


# ---- what is impossible --------------------------------------------------------------------------------------------

Formula = list[Any]  # ["and" | "or", formulas], or [relation, polynomial]: polynomial relation 0, one of > >= =


def impossible(certificate: dict[str, Any]) -> bool:
    """Whether the proof shows that the formulas exclude each other."""
    return excluded(certificate["proof"], known(certificate["formulas"]))


def known(formulas: Iterable[Formula]) -> list[Formula]:
    """The formulas with conjunctions taken apart; raises `ValueError` for what is no formula."""
    found: list[Formula] = []
    for f in formulas:
        match f:
            case ["and", list() as inside]:
                found += known(inside)
            case ["or", list() as inside]:
                known(inside)
                found.append(f)
            case [">" | ">=" | "=", list() as rows]:
                polynomial(rows)
                found.append(f)
            case _:
                raise ValueError(f"not a formula: {f}")
    return found


def excluded(proof: dict[str, Any], given: list[Formula]) -> bool:
    """Whether a proof shows that these formulas exclude each other: by cases, and in each case by a sum."""
    match proof:
        case {"split": k, "parts": parts}:
            relation, branches = given[k]
            return relation == "or" and len(parts) == len(branches) and cases(parts, branches, given)
        case {"compare": p, "parts": [_, _, _] as parts}:
            opposite = [[str(-c), list(m)] for m, c in polynomial(p).items()]
            return cases(parts, [[">", p], ["=", p], [">", opposite]], given)
        case {"sum": _, "equations": _}:
            return contradicts(proof, given)
    return False


def cases(proofs: list[dict[str, Any]], branches: list[Formula], given: list[Formula]) -> bool:
    """Whether each proof excludes its branch."""
    return all(excluded(p, [*given, *known([f])]) for p, f in zip(proofs, branches, strict=True))


def contradicts(proof: dict[str, Any], given: list[Formula]) -> bool:
    """Whether Σ c * product of inequalities * square + Σ multiplier * equation is zero, with something positive in it.

    >>> x, below = [["1", [["x", 1]]]], [["-1", [["x", 1]]]]
    >>> contradicts({"sum": [["1", [0]], ["1", [1]]], "equations": []}, [[">", x], [">=", below]])
    True
    >>> contradicts({"sum": [["1", [0]], ["1", [1]]], "equations": []}, [[">=", x], [">=", below]])
    False
    """
    total: Terms = {}
    strict = False
    for c, factors, *squares in proof["sum"]:
        term: Terms = {(): Fraction(c)}
        for k in factors:
            term = product(term, polynomial(given[k][1]))
        for p in squares:
            term = product(product(term, polynomial(p)), polynomial(p))
        if Fraction(c) <= 0 or any(given[k][0] not in (">", ">=") for k in factors):
            return False
        strict = strict or (not squares and all(given[k][0] == ">" for k in factors))
        for monomial, value in term.items():
            add(total, dict(monomial), value)
    for k, multiplier in proof["equations"]:
        if given[k][0] != "=":
            return False
        for monomial, value in product(polynomial(multiplier), polynomial(given[k][1])).items():
            add(total, dict(monomial), value)
    return strict and not any(total.values())


def unsatisfiable(certificate: dict[str, Any], work: int) -> bool:
    """Whether z3 still finds no model; without work for it, whether the question is one that it can be asked."""
    from dotopt.compiler.prove.solver import client, logic

    names: dict[str, logic.Term] = {}

    def formula(f: Formula) -> logic.Term:
        if f[0] in ("and", "or"):
            return (logic.And if f[0] == "and" else logic.Or)(*map(formula, f[1]))
        terms = [
            logic.product([logic.term(c), *(names.setdefault(a, logic.Real(a)) for a, n in m for _ in range(n))])
            for m, c in polynomial(f[1]).items()
        ]
        p = logic.total(terms)
        return {">": p > 0, ">=": p >= 0, "=": p == 0}[f[0]]

    if not work:
        return "smtlib" in certificate or bool(known(certificate["formulas"]))
    if "smtlib" in certificate:
        return client.ask_text(certificate["smtlib"], work).result == "unsat"
    return client.ask(map(formula, known(certificate["formulas"])), work).result == "unsat"
