"""Laws of rewriting: two tables, one row a law with its textbook name.

    EXACT      keeps every bit of an IEEE result, for infinities, NaN and signed zeros too: what emission may use
    ALGEBRAIC  identities of a field, which hold in exact arithmetic: for printing, calculus and proofs

A pattern is a variable ("x"), a number, or an operation with its operands (("add", "x", 0)); operations that commute
match in either order. A replacement is of the same form, or a function of the node and what the variables stand for.
So x + 0 = x is not exact (-0 + 0 is +0), nor is x*0 = 0 (∞*0 is NaN); x*1 = x and x - 0 = x are. Numbers are folded
by the exact table only where floating point agrees: 1 - 0.5, but not 1 - 0.9.
"""

from __future__ import annotations

from dotopt.compiler.ir import Node, rebuild
from dotopt.compiler.ir.wellformed import after
from dotopt.compiler.rewrite.law import COMMUTATIVE, Law
from dotopt.compiler.rewrite.tables import ALGEBRAIC, EXACT

__all__ = ["ALGEBRAIC", "COMMUTATIVE", "EXACT", "Law", "simplify"]


@after
def simplify(root: Node, table: tuple[Law, ...] | None = None) -> Node:
    """`root` with the laws of `table` (`ALGEBRAIC` if none is given) applied until none applies.

    >>> from dotopt.compiler.ir import leaf, node, number
    >>> x = leaf("free", "x")
    >>> simplify(node("add", node("mul", x, number(1)), number(0)))
    x
    """
    laws = _by_operation(ALGEBRAIC if table is None else table)

    def change(here: Node) -> Node:
        for law in laws.get(here.op, ()):
            made = law.apply(here)
            if made is not None:
                return made
        return here

    for _ in range(200):
        changed = rebuild(root, change)
        if changed is root:
            return root
        root = changed
    return root


def _by_operation(table: tuple[Law, ...]) -> dict[str, list[Law]]:
    laws: dict[str, list[Law]] = {}
    for law in table:
        laws.setdefault(law.pattern[0] if isinstance(law.pattern, tuple) else "", []).append(law)
    return laws
