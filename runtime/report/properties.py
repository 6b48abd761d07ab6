"""What holds of an optimizer unasked: its invariances, its largest stable step, the bound of a step, its memory.

    properties(facts) -> tuple of Property      `dotopt explain` prints them

Each says how it is known: by types, by units, proved with a certificate, at the defaults, or that it is open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dotopt.runtime.report.explain import Explanation, Hyperparameter

FUEL = 500_000  # work for the bound of a step


@dataclass(frozen=True, slots=True)
class Property:
    """`what`, its value in words or as a formula, and `how` it is known."""

    what: str
    value: str
    how: str


def properties(facts: Explanation) -> tuple[Property, ...]:
    """The properties of a rule; nothing for what is no optimizer with one parameter.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.runtime.report.explain import explain
    >>> [(p.what, p.value) for p in properties(explain(Library().find("QHM")))][-2:]
    [('update bound', 'none: the step grows with the gradient'), ('memory', '4 bytes per entry')]
    """
    if facts.kind != "optimizer" or len(facts.program.params) != 1:
        return ()
    return (*_invariances(facts), *_steps(facts), _bound(facts), _memory(facts))


def _memory(facts: Explanation) -> Property:
    parts = [f"{facts.bytes:g} bytes per entry"] if facts.bytes or not facts.memory else []
    parts += [f"{m.place} ({m.name})" for m in facts.memory if not m.bytes and m.place.endswith("bytes per tensor")]
    return Property("memory", " + ".join(parts) or "a few numbers per tensor", "declarations")


def _rate(facts: Explanation) -> tuple[str, str]:
    """The learning rate and its unit."""
    found = next((k for k in facts.hyperparameters if k.python == "lr"), None)
    return (found.symbol, found.unit) if found is not None else ("", "")


def _scale_free(facts: Explanation) -> bool:
    """Whether the step keeps its size when the objective is multiplied: its units add up and the rate has none of f."""
    _, unit = _rate(facts)
    return bool(unit) and not facts.remarks and "f" not in unit


def _invariances(facts: Explanation) -> Iterator[Property]:
    from dotopt.compiler.prove.procedures.equivariance import invariances
    from dotopt.compiler.prove.procedures.homogeneity import scaled_along

    found = list(invariances(facts.program))
    yield Property("equivariant under", ", ".join(found) or "nothing that types show", "types")
    others = [k.symbol for k in facts.hyperparameters if "f" in k.unit and k.python != "lr"]
    also = f", with {', '.join(others)} scaled along or 0" if others else ""
    rate, unit = _rate(facts)
    if _scale_free(facts):
        yield Property("scale of f", f"does not matter{also}", "units, up to guards such as 1e-7")
    elif not facts.remarks and "f" in unit:
        yield Property("scale of f", f"matters: {rate} has the unit {unit}{also}", "units")
    elif (along := scaled_along(facts.program)) is not None:
        yield Property("scale of f", ", ".join(filter(None, ("does not matter", along))), "degrees of all values in f")
    else:
        yield Property("scale of f", "open: not every value has a unit", "units")


def _steps(facts: Explanation) -> Iterator[Property]:
    from dotopt.compiler.prove.checker import verify
    from dotopt.compiler.prove.derivations.largest_step import largest_steps

    any_found = False
    for found in largest_steps(facts.program, work=250_000):
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
        said = [note for note in dict.fromkeys(found.notes) if note.startswith(("unless", "clip")) and "…" not in note]
        how = "; ".join((sign, f"{found.sigma} = {found.curvature}", *said))
        yield Property("largest stable step", f"{formula}{also}{where}", how)


def _bound(facts: Explanation) -> Property:
    """How far a step goes, whatever the gradients; of rules that are homogeneous in f there is no bound."""
    _, unit = _rate(facts)
    guarded = any("f" in k.unit and k.python == "eps" for k in facts.hyperparameters)  # which may keep the step short
    if not facts.remarks and "f" in unit and not guarded:
        return Property("update bound", "none: the step grows with the gradient", "units")
    from dotopt.compiler.prove.derivations.update_bound import bound

    found = bound(facts.program, lambda claim: _holds(facts, claim))
    if found is None:
        stated = _stated(facts)
        if stated is not None:
            return stated
        return Property("update bound", "open", "no bound by signs, quotients or Newton-Schulz was proved")
    where = f" where {', '.join(found.where)}" if found.where else ""
    return Property("update bound", _squares(found.text + where), _squares("; ".join(("proved", *found.notes))))


def _squares(text: str) -> str:
    return re.sub(r"\^2(?!\d)", "²", text)


def _stated(facts: Explanation) -> Property | None:
    """A bound that the file claims itself, if it is proved."""
    from dotopt.compiler.prove import check_claim
    from dotopt.compiler.prove.checker import verify
    from dotopt.compiler.text import syntax as s
    from dotopt.compiler.text.library import Library

    x = facts.program.params[0].name
    for claim in facts.file.claims:
        shown = [clause.goal.span.text for clause in claim.body if isinstance(clause, s.Show) and not clause.refute]
        if len(shown) != 1 or not re.match(rf"[|‖]{x}' - {x}[|‖] <= ", shown[0]):
            continue
        found = check_claim(facts.file, claim, Library(), FUEL)
        if found.status == "proved" and verify(found.certificate or {}):
            given = [clause.condition.span.text for clause in claim.body if isinstance(clause, s.Given)]
            where = f" where {' and '.join(given)}" if given else ""
            return Property("update bound", shown[0] + where, f"proved, as claim {claim.name}")
    return None


def _chosen(option: Hyperparameter) -> str:
    """An option as it is explained, as a condition."""
    known = {"True": option.symbol, "False": f"not {option.symbol}"}
    return known.get(option.default, f"{option.symbol} == {option.default}")


def _holds(facts: Explanation, claim: str) -> bool:
    """Whether the engine proves a claim with these lines about the rule, with a certificate that verifies."""
    from dotopt.compiler.parse import parse
    from dotopt.compiler.prove import check_claim
    from dotopt.compiler.prove.checker import verify
    from dotopt.compiler.text.errors import OptError
    from dotopt.compiler.text.library import Library
    from dotopt.compiler.text.source import Source

    source = facts.file.span.source
    options = "".join(f"  given {_chosen(k)}\n" for k in facts.hyperparameters if " | " in k.range)
    text = source.text.rstrip("\n") + f"\n\nclaim bound_of_the_step:\n{options}  {claim}\n"
    try:
        file = parse(Source(source.path, text))
    except OptError:  # a part is too long to be written
        return False
    found = check_claim(file, file.claims[-1], Library(), FUEL)
    return found.status == "proved" and verify(found.certificate or {})


__all__ = ["Property", "properties"]
