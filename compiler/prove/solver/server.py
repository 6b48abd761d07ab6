"""Answers questions of `client`, one line of JSON each: a script that imports z3 and nothing of dotopt.

    {"text": …, "work": n}                          {"result": "unsat" | "sat" | "unknown", "values": {…}, "work": m}
    {"text": …, "work": n, "marks": [name, …]}      the same; a name for each assertion, "core": [name, …] if unsat
    {"text": …, "work": n, "minimise": term}        values at which the term is smallest

`work` is counted by z3 itself (its `rlimit`), and every question has a context of its own with fixed seeds: the answer
depends on the question alone. A value is [numerator, denominator, whether it is exact], or the bits of an IEEE number.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any

import z3


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """The answer to one question."""
    with suppress(z3.Z3Exception):  # where unknowns are whole it works for minutes without counting; some have it not
        z3.set_param("nlsat.lws", " Int)" not in question["text"])
    context = z3.Context()
    marks = question.get("marks", ())
    solver = _tracking(question, context) if marks else _plain(question, context)
    solver.set("rlimit", question["work"])
    try:
        result = str(solver.check())
    except z3.Z3Exception:
        result = "unknown"
    found: dict[str, Any] = {"result": result, "values": {}, "work": spent(solver)}
    if result == "sat":
        model = solver.model()
        found["values"] = {d.name(): value(model[d]) for d in model.decls() if d.arity() == 0}
    if result == "unsat" and marks:
        found["core"] = sorted(str(mark) for mark in solver.unsat_core())
    return found


def _plain(question: dict[str, Any], context: z3.Context) -> Any:
    text = question["text"]
    if "minimise" in question:
        solver: Any = z3.Optimize(ctx=context)
        text += f"\n(minimize {question['minimise']})"
    else:
        solver = z3.Solver(ctx=context)
    solver.from_string(text)
    return solver


def _tracking(question: dict[str, Any], context: z3.Context) -> Any:
    """Each assertion with a mark, by which an answer can name those that it needs."""
    steps = (z3.Tactic(name, context) for name in ("simplify", "purify-arith", "tseitin-cnf", "nlsat"))
    solver = z3.Then(*steps, ctx=context).solver()
    solver.set("unsat_core", True)
    for mark, asserted in zip(question["marks"], z3.parse_smt2_string(question["text"], ctx=context), strict=True):
        solver.assert_and_track(asserted, z3.Bool(mark, context))
    return solver


def spent(solver: Any) -> int:
    """The work that was done."""
    statistics = solver.statistics()
    return int(statistics.get_key_value("rlimit count")) if "rlimit count" in statistics.keys() else 0  # noqa: SIM118


def value(found: Any) -> Any:
    """A value of a model as data; None for what is no number."""
    if z3.is_algebraic_value(found):
        return [*value(found.approx(20))[:2], False]
    if z3.is_rational_value(found):
        return [str(found.numerator_as_long()), str(found.denominator_as_long()), True]
    if z3.is_int_value(found):
        return [str(found.as_long()), "1", True]
    if z3.is_fp_value(found):
        if found.isNaN():
            return "nan"
        exponent, digits = found.sort().ebits(), found.sort().sbits() - 1
        if found.isInf():
            power, rest = (1 << exponent) - 1, 0
        else:
            power, rest = found.exponent_as_long(biased=True), found.significand_as_long()
        return str(((int(found.sign()) << exponent | power) << digits) | rest)
    return z3.is_true(found) if z3.is_true(found) or z3.is_false(found) else None


SEEDS = ("smt.random_seed", "sat.random_seed", "nlsat.seed", "fp.spacer.random_seed")


def main() -> None:
    """Reads questions until there are no more."""
    for seed in SEEDS:
        z3.set_param(seed, 0)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what z3 prints is no answer
    for line in sys.stdin.buffer:
        try:
            found = answer(json.loads(line))
        except z3.Z3Exception as error:
            found = {"result": "unknown", "values": {}, "work": 0, "error": str(error)[:300]}
        replies.write(json.dumps(found) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
