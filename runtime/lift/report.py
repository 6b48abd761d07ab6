"""The answer of `dotopt lift` in words."""

from __future__ import annotations

from collections.abc import Sequence

from dotopt.runtime.lift.answer import Answer, Relation
from dotopt.runtime.lift.verify import Difference


def verdict(found: Answer, name: str) -> str:
    """Whether the rule is the class."""
    proof, notes = found.proof, "".join(f"; the class {note}" for note in found.lifted.notes)
    ranks = " and ".join(map(str, found.lifted.recovered))
    ways = (
        f"{proof.compared} equations on every way through the step, at the first step and from any state, for tensors"
        f" with {ranks} axes"
    )
    match found.status:
        case "proved":
            return f"proved equal to the traced program: {ways}; replayed to {found.apart:.0e}{notes}"
        case "replayed":
            open_ = "; ".join(proof.open[:4])
            return f"equal in a replay, to {found.apart:.0e}, and not proved ({open_}){notes}"
    if found.difference is None:
        parts = "; ".join(proof.different) or f"a replay parts by {found.apart:.1e}"
        return f"different from {name}: {parts}{notes}"
    return f"different from {name}: " + numbers(found.difference, name, "the rule") + notes


def relation(found: Relation) -> str:
    """What a rule of the library is to the class."""
    where = f", with {found.where}" if found.where else ""
    match found.how:
        case "proof":
            return f"equal to {found.rule} of the library{where}: by proof"
        case "replay":
            return f"equal to {found.rule} of the library{where}: by replay, not proved"
    if found.difference is None:
        return f"different from {found.rule} of the library{where}: a replay with random gradients parts"
    return f"different from {found.rule} of the library{where}: {numbers(found.difference, 'the class', found.rule)}"


def numbers(found: Difference, left: str, right: str) -> str:
    """The numbers that tell two optimizers apart."""
    settings = ", ".join(f"{k} = {v}" for k, v in found.settings.items())
    gradients = ", ".join(_vector(g) for g in found.gradients)
    return (
        f"from {_vector(found.start)} with gradients {gradients}, step {found.step} gives {_vector(found.left)} with"
        f" {left} and {_vector(found.right)} with {right} ({settings})"
    )


def _vector(values: Sequence[float]) -> str:
    texts = [f"{v:.10g}" for v in values]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
