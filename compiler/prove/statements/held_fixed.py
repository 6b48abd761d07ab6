"""What `given` lines say of parts of a step: `given ∇f(x) == λ*x`, `given √v' + ε == D`.

Such a part is held at this value in every step, whatever the states are; so a rule that divides by a running mean has a
step that is linear.
"""

from __future__ import annotations

from dataclasses import replace

from dotopt.compiler.ir import Node, substitute
from dotopt.compiler.prove.statements.simplify import fold
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.prove.statements.unroll import state_leaves


def held_fixed(case: Case) -> Case:
    """The case whose program has the values in place of the parts that equal them."""
    parts = {here for root in case.program.roots for here in case.settle(root).walk() if here.args and _moves(here)}
    named = {name: body for table in case.substitutions for name, body in table.items() if name.role == "free"}
    values = {part: name for name, body in named.items() if (part := case.settle(body)) in parts}
    freed = set(values.values())
    equations = {p for p in case.premises if p.op == "eq" and p.args[0] in parts and not state_leaves([p.args[1]])}
    values |= {p.args[0]: p.args[1] for p in equations}
    if not values:
        return case

    def change(root: Node) -> Node:
        return fold(substitute(case.settle(root), values))

    return replace(
        case,
        program=case.program.mapped(change),
        premises=[substitute(p, values) for p in case.premises if p not in equations],
        substitutions=[{k: v for k, v in table.items() if k not in freed} for table in case.substitutions],
    )


def _moves(here: Node) -> bool:
    """Whether the value may be different in every step."""
    return any(x.role in ("param", "state") or x.op == "oracle" for x in here.walk())


__all__ = ["held_fixed"]
