"""Which other claims of its file a claim leans on: `by lemma(a, b)`."""

from __future__ import annotations

from dotopt.compiler.text import syntax as s


def lemma_names(claim: s.Claim) -> list[str]:
    """The names after `by lemma`, in order."""
    found: list[str] = []
    for method in (m for clause in claim.body if isinstance(clause, s.By) for m in clause.methods):
        match method:
            case s.Call(function=s.Name(name="lemma"), arguments=arguments):
                found += [a.name for a in arguments if isinstance(a, s.Name)]
    return found


def leans_on(file: s.File, claim: s.Claim) -> list[s.Claim]:
    """The claims that a claim needs, those that they need included; itself too, if they go in a circle."""
    known = {c.name: c for c in file.claims}
    found: dict[str, s.Claim] = {}
    waiting = lemma_names(claim)
    while waiting:
        name = waiting.pop(0)
        if name in known and name not in found:
            found[name] = known[name]
            waiting += lemma_names(known[name])
    return list(found.values())


__all__ = ["leans_on", "lemma_names"]
