"""Groups of operations by what they do to entries, read from the table."""

from __future__ import annotations

from dotopt.compiler.ops import OPERATIONS, named

COMPARISONS = tuple(name for name in named("truth") if OPERATIONS[name].degree == "compared")
REDUCTIONS = tuple(name for name in named("reduction") if name not in ("size", "native"))
# one number to one number
FUNCTIONS = tuple(name for name in named("number") if OPERATIONS[name].arity == 1)
# what computes each entry from entries at the same place
ENTRYWISE = frozenset((*named("number", "truth"), "select", "stop"))
