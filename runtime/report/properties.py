"""What holds of an optimizer unasked: its invariances, its largest stable step, the bound of a step, its memory.

    properties(facts) -> tuple of Property      `dotopt explain` prints them

Each says how it is known: by types, by units, proved with a certificate, at the defaults, or that it is open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dotopt.runtime.report.explain import Explanation

SECONDS = 0.5  # for the bound of a step


@dataclass(frozen=True, slots=True)
class Property:
    """`what`, its value in words or as a formula, and `how` it is known."""

    what: str
    value: str
    how: str


def properties(facts: Explanation) -> tuple[Property, ...]:
    """The properties of a rule; nothing for what is no optimizer with one parameter.

    >>> from dotopt.compiler.library import Library
    >>> from dotopt.runtime.report.explain import explain
    >>> [(p.what, p.value) for p in properties(explain(Library().find("QHM")))][-2:]
    [('update bound', 'none: the step grows with the gradient'), ('memory', '4 bytes per entry')]
    """
    if facts.kind != "optimizer" or len(facts.program.params) != 1:
        return ()
    return (*_invariances(facts), *_steps(facts), _bound(facts), _memory(facts))


def _memory(facts: Explanation) -> Property:
    return Property("memory", f"{facts.bytes:g} bytes per entry", "declarations")


def _rate(facts: Explanation) -> tuple[str, str]:
    """The learning rate and its unit."""
    found = next((k for k in facts.knobs if k.python == "lr"), None)
    return (found.symbol, found.unit) if found is not None else ("", "")


def _scale_free(facts: Explanation) -> bool:
    """Whether the step keeps its size when the objective is multiplied: its units add up and the rate has none of f."""
    _, unit = _rate(facts)
    return bool(unit) and not facts.remarks and "f" not in unit


def _invariances(facts: Explanation) -> Iterator[Property]:
    from dotopt.compiler.prove.procedures.equivariance import invariances

    found = list(invariances(facts.program))
    yield Property("equivariant under", ", ".join(found) or "nothing that types show", "types")
    others = [k.symbol for k in facts.knobs if "f" in k.unit and k.python != "lr"]
    also = f", with {', '.join(others)} scaled along or 0" if others else ""
    rate, unit = _rate(facts)
    if _scale_free(facts):
        yield Property("scale of f", f"does not matter{also}", "units, up to guards such as 1e-7")
    elif not facts.remarks and "f" in unit:
        yield Property("scale of f", f"matters: {rate} has the unit {unit}{also}", "units")
    else:
        yield Property("scale of f", "open: not every value has a unit", "units")


def _steps(facts: Explanation) -> Iterator[Property]:
    from dotopt.compiler.prove.checker import verify
    from dotopt.compiler.prove.derivations.largest_step import largest_steps

    any_found = False
    for found in largest_steps(facts.program, milliseconds=250):
        where = f" where {', '.join(found.where)}" if found.where else ""
        if found.status == "none":
            free = _scale_free(facts) and not any_found
            words = "none: depends on the gradient's scale" if free else "not found"
            yield Property("largest stable step", words + where, found.reason)
            continue
        if found.certificate is not None and not verify(dict(found.certificate)):
            yield Property("largest stable step", "not found" + where, "its certificate does not verify")
            continue
        any_found = True
        formula = f"{found.rate} < {found.text or found.at_defaults}"
        also = f", {found.at_defaults} at the defaults" if found.text and found.at_defaults != found.text else ""
        sign = "numeric, at the defaults and curvature 1" if found.status == "numeric" else found.status
        yield Property("largest stable step", f"{formula}{also}{where}", f"{sign}; {found.sigma} = {found.curvature}")


def _bound(facts: Explanation) -> Property:
    """|x' - x| of rules with signs, by the engine; of rules that are homogeneous in f there is none."""
    rate, unit = _rate(facts)
    if not facts.remarks and "f" in unit:
        return Property("update bound", "none: the step grows with the gradient", "units")
    step = facts.program.next[facts.program.params[0].name]
    if not any(here.op == "sign" for here in step.walk()):
        return Property("update bound", "open", "no procedure for steps without signs")
    decay = next((k.symbol for k in facts.knobs if k.python == "weight_decay"), "")
    x = facts.program.params[0].name
    sizes = [rate, *([f"{rate}*(1 + {decay}*|{x}|)"] if decay else [])]
    for size in sizes:
        if _holds(facts, f"|{x}' - {x}| <= {size}"):
            return Property("update bound", f"|{x}' - {x}| <= {size}", "proved")
    return Property("update bound", "open", f"neither {' nor '.join(sizes)} was proved")


def _holds(facts: Explanation, condition: str) -> bool:
    """Whether the engine proves this sentence about the rule, with a certificate that verifies."""
    from dotopt.compiler.library import Library
    from dotopt.compiler.parse import parse
    from dotopt.compiler.prove import check_claim
    from dotopt.compiler.prove.checker import verify
    from dotopt.compiler.source import Source

    source = facts.file.span.source
    text = source.text.rstrip("\n") + f"\n\nclaim bound_of_the_step:\n  show {condition}\n"
    file = parse(Source(source.path, text))
    found = check_claim(file, file.claims[-1], Library(), SECONDS)
    return found.status == "proved" and verify(found.certificate or {})


__all__ = ["Property", "properties"]
