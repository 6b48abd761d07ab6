"""What the constants of declared properties must satisfy for a function with these properties to exist.

    smooth(L), lipschitz(L), strongly_convex(μ), strongly_monotone(μ), cocoercive(β)     none is negative
    strongly_convex(μ), smooth(L)       strongly_monotone(μ), lipschitz(L)               μ <= L
    strongly_monotone(μ), cocoercive(β)                                                  μ*β <= 1
"""

from __future__ import annotations

from collections.abc import Iterator

from dotopt.compiler.ir import Node, node, number
from dotopt.compiler.lower.expression import value
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.text import syntax as s

SIGNED = ("smooth", "lipschitz", "strongly_convex", "strongly_monotone", "cocoercive")
ORDERED = (("strongly_convex", "smooth"), ("strongly_monotone", "lipschitz"))


def constants(case: Case) -> Iterator[Node]:
    """The conditions, as boolean nodes."""
    for d in case.file.statements:
        if not isinstance(d, s.Declaration):
            continue
        held = {p.name: value(case.context, p.arguments[0], case.scope) for p in d.properties if p.arguments}
        for name in SIGNED:
            if name in held:
                yield node("ge", held[name], number(0))
        for small, large in ORDERED:
            if small in held and large in held:
                yield node("le", held[small], held[large])
        if "strongly_monotone" in held and "cocoercive" in held:
            yield node("le", node("mul", held["strongly_monotone"], held["cocoercive"]), number(1))


__all__ = ["constants"]
