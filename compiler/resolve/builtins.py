"""What every file may use without declaring it: constants, functions with their arguments, laws, methods."""

from __future__ import annotations

from typing import NamedTuple

from dotopt.compiler.ops import having
from dotopt.compiler.ops.row import Call
from dotopt.grammar.spelling import canonical


class Signature(NamedTuple):
    """How a built-in function is called: its least and greatest number of arguments (`None`: any), and its keywords."""

    least: int
    most: int | None
    keywords: frozenset[str] = frozenset()


def _table(rows: dict[str, Signature]) -> dict[str, Signature]:
    """`"exp log"` stands for two functions of one signature."""
    return {canonical(name): signature for names, signature in rows.items() for name in names.split()}


AXES = frozenset({"over", "per"})  # keywords of reductions: what is summed away, what stays

# called by the name of an operation
OPERATIONS_CALLED = {
    canonical(spelled.name): Signature(spelled.least, spelled.most, spelled.keywords)
    for spelled in having(lambda row: row.opt).values()
    if isinstance(spelled, Call)
}
# made of other operations, or known in one place only
WORDS = _table(
    {
        "clip": Signature(3, 3),
        "rms": Signature(1, 1, AXES),
        "dot": Signature(2, 2, AXES),
        "rank": Signature(1, 1),
        "jacobian divergence": Signature(2, 2),
        "top occurs suffix append": Signature(2, 2),
        "expect": Signature(1, 1),
        "prox": Signature(3, 3),
        "input_of output_of": Signature(1, 1),
        "run": Signature(2, 2, frozenset({"start", "lr", "steps"})),
        "ddt O": Signature(1, 1),
    }
)
FUNCTIONS: dict[str, Signature] = {**OPERATIONS_CALLED, **WORDS}

CONSTANTS = frozenset(canonical(name) for name in ("π", "I", "t"))
RESERVED = frozenset(canonical(name) for name in ("t", "inf", "infinity", "∞"))
SLICES = frozenset({"model", "tensor"})  # all tensors of the optimizer; one whole tensor

LAWS = _table(
    {
        "normal uniform choose": Signature(2, 2),
        "bernoulli categorical permutation": Signature(1, 1),
        "rademacher": Signature(0, 0),
        "batch": Signature(0, 0, frozenset({"at"})),
    }
)
METHODS = frozenset(
    {
        "algebra", "range", "sos", "smt", "monotone", "induction", "quotient", "sampling", "simulation", "lemma",
        "enumeration",
    }
)  # fmt: skip
PROPERTIES = {  # of functions, objectives and operators, with the numbers of arguments that they may have
    "convex": {0}, "strongly_convex": {1}, "smooth": {0, 1}, "even": {0}, "odd": {0}, "unbiased": {0},
    "monotone": {0}, "strongly_monotone": {1}, "cocoercive": {1}, "lipschitz": {1}, "contractive": {0},
    "symmetric": {0}, "holomorphic": {0},
}  # fmt: skip
SOLVERS = frozenset({"levenberg_marquardt", "newton", "lbfgs"})  # after `by=` of `argmin` and `root`
FORMATS = frozenset({"bf16", "fp16", "bf8", "fp8", "tf32", "fp32", "fp64"})

BUILTINS = frozenset(FUNCTIONS) | CONSTANTS
# `O(h^3)` is read in claims only, `t` may be a parameter of a formula, and `use softplus` stems from before it was here
QUIETLY_HIDDEN = frozenset({"O", "t", "softplus"})
