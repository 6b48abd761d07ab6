"""What every file may use without declaring it: constants, functions with their arguments, laws, methods."""

from __future__ import annotations

from typing import NamedTuple

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
ITERATIVE = frozenset({"from", "tol", "most", "by"})  # keywords of what is found by iteration

ENTRYWISE = _table(
    {
        "exp log sin cos tan tanh acos atanh erf sigmoid gelu relu": Signature(1, 1),
        "sign abs sqrt floor ceil cis re im conj": Signature(1, 1),
        "clip": Signature(3, 3),
    }
)
REDUCTIONS = _table(
    {
        "sum mean norm std rms argmax": Signature(1, 1, AXES),
        "size": Signature(1, 1, AXES),
        "max min": Signature(1, None, AXES),  # one argument is reduced, several are compared entrywise
        "dot": Signature(2, 2, AXES),
        "rank": Signature(1, 1),
        "argsort": Signature(1, 1, AXES),
    }
)
LINEAR_ALGEBRA = _table(
    {
        "trace transpose diagonal inverse eigenvectors top_eigenvector qr svdvals polar": Signature(1, 1),
        "spectral_norm spectral_radius positive_definite": Signature(1, 1),
        "outer solve matrix_power columns": Signature(2, 2),
        "ones zeros": Signature(1, None),
        "unit": Signature(1, 1, AXES),
        "jacobian divergence": Signature(2, 2),
    }
)
SELECTION = _table(
    {
        "keep_largest top occurs suffix append": Signature(2, 2),
        "rank_of": Signature(1, 1, AXES),
        "indicator": Signature(1, 1),
    }
)
CALCULUS = _table(
    {
        "stop expect": Signature(1, 1),
        "argmin root": Signature(1, 1, ITERATIVE),
        "prox jvp": Signature(3, 3),
    }
)
SEQUENCE = _table(
    {
        "attention": Signature(3, 3),
        "cumsum": Signature(1, 1, AXES),
        "tril": Signature(1, 1),
    }
)
ORACLES = _table({"input_of output_of": Signature(1, 1), "native": Signature(2, 2)})
CLAIMS_ONLY = _table({"run": Signature(2, 2, frozenset({"start", "lr", "steps"})), "ddt O": Signature(1, 1)})

FUNCTIONS: dict[str, Signature] = {
    **ENTRYWISE,
    **REDUCTIONS,
    **LINEAR_ALGEBRA,
    **SELECTION,
    **CALCULUS,
    **SEQUENCE,
    **ORACLES,
    **CLAIMS_ONLY,
}

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
QUIETLY_HIDDEN = frozenset({"O", "t"})  # `O(h^3)` is read in claims only, and `t` may be a parameter of a formula
