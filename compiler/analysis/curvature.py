"""What a quadratic, with norms or without, needs for a minimum: no curvature may be negative, and one is positive.

    gradient  Σ c*L @ S @ R + a*S + rest      a > 0, c >= 0, and every chain L, R is X @ Xᵀ
    norms     Σ c*‖S‖                         c >= 0

`quadratic` and `proximal` write the minimiser down without asking; a claim that speaks of a minimum has to.
"""

from __future__ import annotations

from dotopt.compiler.analysis.proximal import parted
from dotopt.compiler.analysis.quadratic import Chain, Factor, NotQuadratic, Reader, total, turned, unflipped
from dotopt.compiler.calculus import NotDifferentiable, gradient
from dotopt.compiler.ir import Lambda, Node, node, number
from dotopt.compiler.ops.types import Mismatch
from dotopt.compiler.rewrite import simplify


def curvature(function: Lambda) -> tuple[Node, ...] | None:
    """Conditions under which `function` of one tensor is convex, and curved unless it is given by matrices alone.

    None for what is not of these forms.

    >>> from dotopt.compiler.ir import leaf
    >>> from dotopt.compiler.ops.types import REAL
    >>> s, a = leaf("free", "s", REAL), leaf("free", "a", REAL)
    >>> curvature(Lambda((s,), node("mul", a, node("mul", s, s))))
    (2*a > 0,)
    """
    if len(function.variables) != 1:
        return None
    (variable,) = function.variables
    smooth, bent = parted(function)
    if smooth is None:
        return None
    try:
        form = Reader(variable).read(gradient(smooth, variable))
        terms = [unflipped(term, variable.type) for term in form.terms]
    except (NotQuadratic, NotDifferentiable, Mismatch):
        return None
    zero = number(0)
    scale = total(term.coefficient for term in terms if not (term.left or term.right))
    links = [term for term in terms if term.left or term.right]
    if scale is None and not links:
        return None
    found = [node("ge", weight, zero) for _, weight in bent]
    if scale is not None:
        found.append(node("gt", simplify(scale), zero))
    for term in links:
        sides = [_never_negative(chain) for chain in (term.left, term.right)]
        for side in sides:
            if side is None:
                return None
            found += side
        found.append(node("ge", simplify(term.coefficient), zero))
    return tuple(found)


def _never_negative(chain: Chain) -> list[Node] | None:
    """Conditions under which a product of matrices is X @ Xᵀ, or X @ D @ Xᵀ with a diagonal that is not negative."""
    if not all(_same(a, b) for a, b in zip(chain, turned(chain), strict=True)):
        return None
    if len(chain) % 2 == 0:
        return []
    middle = chain[len(chain) // 2]
    return [node("ge", middle.value, number(0))] if middle.kind == "diagonal" else None


def _same(a: Factor, b: Factor) -> bool:
    return a.kind == b.kind and simplify(a.value) is simplify(b.value)


__all__ = ["curvature"]
