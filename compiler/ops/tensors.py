"""Constants, reductions along axes, and matrices."""

from __future__ import annotations

from typing import Any

from dotopt.compiler.ops import typing as t
from dotopt.compiler.ops.attributes import Counted, Named, Normed, Number, Placed, Reduced, Truth, Typed
from dotopt.compiler.ops.row import (
    EXPONENT,
    LOST,
    PLAIN,
    SAME,
    Axiom,
    Call,
    Form,
    Infix,
    Operation,
    Powers,
    absent,
)
from dotopt.compiler.ops.types import BOOL, INT, REAL

AXES = frozenset({"over", "per"})
EVERYWHERE = "true"
PRIMITIVE = absent("it is not made of other operations")
TENSOR = absent("it is no function of one number")
NOT_CONSTANT = absent("it has no arguments")
ADJOINT = absent("of tensors: calculus/adjoints has its adjoint")
STEPS = absent("it is constant in steps")
NO_KERNEL = absent("passes of kernels leave it to the library")
BY_LAW = absent("normal forms have laws of it: prove/forms")
NO_LAW = absent("no law of it is known to the prover")
ENTRIES = absent("of arrays of exact numbers: prove/worlds/operations")
NO_EXACT = absent("no exact value: its entries are not rational")
NO_SYMPY = absent("it has no expression in entries: analysis/symbolic")
BY_ENTRIES = absent("written in entries: analysis/symbolic")

# ---- constants -------------------------------------------------------------------------------------------------------

_constant: dict[str, Any] = {
    "kind": "constant", "arity": 0, "definition": PRIMITIVE, "derivative": (), "parity": NOT_CONSTANT,
    "smooth": NOT_CONSTANT, "monotone": NOT_CONSTANT, "domain": EVERYWHERE, "known": NOT_CONSTANT, "axioms": BY_LAW,
    "exact": ENTRIES,
    "enclosure": ENTRIES, "sympy": BY_ENTRIES,
}  # fmt: skip


def _known(**columns: Any) -> Operation:
    return Operation(**{**_constant, **columns})


CONSTANTS = (
    _known(
        name="const", attributes=Number, type=t.number, means="an exact number", degree=PLAIN, range="(-∞, ∞)",
        numpy=lambda np, attrs: np.asarray(float(attrs.value)), exact=lambda mp, attrs: attrs.value,
        opt=Form("0.5"), latex=Form("0.5"), torch=Form("0.5"), c=Form("0.5f"), triton=Form("0.5"),
    ),
    _known(
        name="bool", attributes=Truth, type=t.constant(BOOL), means="`true` or `false`", degree=LOST, range="[0, 1]",
        numpy=lambda np, attrs: np.asarray(attrs.value), exact=lambda mp, attrs: attrs.value,
        opt=Form("true"), latex=Form(r"\text{true}"), torch=Form("True"), c=Form("1"), triton=Form("True"),
    ),
    _known(
        name="inf", type=t.constant(REAL), means="∞", degree=absent("it fits every unit"), range="[∞, ∞]",
        numpy=lambda np, attrs: np.asarray(np.inf), exact=absent("it is no real number"),
        enclosure=absent("it is no real number"),
        opt=Form("∞"), latex=Form(r"\infty"), torch=Form("math.inf"), c=Form("INFINITY"), triton=Form("float('inf')"),
    ),
    _known(
        name="pi", type=t.constant(REAL), means="π", degree=LOST, range="(3.141592653589793, 3.141592653589794)",
        axioms=(Axiom("π > 3.1415926 and π < 3.1415927", "its decimals"),),
        numpy=lambda np, attrs: np.asarray(np.pi), exact=lambda mp, attrs: +mp.pi, enclosure=lambda iv, attrs: +iv.pi,
        opt=Form("π"), latex=Form(r"\pi"), torch=Form("math.pi"), c=Form("3.14159265358979323846"),
        triton=Form("3.141592653589793"),
    ),
    _known(
        name="eye", attributes=Named, type=t.on_axis, means="the identity matrix, `I`", degree=LOST, range="[0, 1]",
        numpy=lambda np, size: np.eye(size),
        opt=Form("I"), latex=Form("I"), torch=Call("torch.eye"), c=NO_KERNEL, triton=NO_KERNEL,
    ),
    _known(
        name="zeros", arity=None, attributes=Typed, type=t.given, means="0 in every entry",
        degree=absent("0 fits every unit"), range="[0, 0]", derivative=("0",),
        numpy=lambda np, shape: np.zeros(shape),
        opt=Call("zeros", 1, None), latex=Form("0"), torch=Call("torch.zeros"), c=NO_KERNEL, triton=NO_KERNEL,
    ),
    _known(
        name="ones", arity=None, attributes=Typed, type=t.given, means="1 in every entry",
        degree=LOST, range="[1, 1]", derivative=("0",), numpy=lambda np, shape: np.ones(shape),
        opt=Call("ones", 1, None), latex=Form("1"), torch=Call("torch.ones"), c=NO_KERNEL, triton=NO_KERNEL,
    ),
    _known(
        name="arange", attributes=Counted, type=t.along, means="whole numbers along an axis", degree=LOST,
        range="(-∞, ∞)", numpy=lambda np, start, size: np.arange(start, start + size, dtype=float),
        opt=absent("an index of an equation becomes it"), latex=absent("an index of an equation becomes it"),
        torch=Call("torch.arange"), c=NO_KERNEL, triton=NO_KERNEL,
    ),
)  # fmt: skip

# ---- reductions ------------------------------------------------------------------------------------------------------

_reduction: dict[str, Any] = {
    "kind": "reduction", "attributes": Reduced, "type": t.reduced, "definition": PRIMITIVE, "derivative": ADJOINT,
    "degree": SAME, "parity": TENSOR, "smooth": "kinks", "monotone": TENSOR, "domain": EVERYWHERE, "known": TENSOR,
    "axioms": BY_LAW,
    "exact": ENTRIES, "enclosure": ENTRIES, "sympy": BY_ENTRIES,
}  # fmt: skip


def _reduced(**columns: Any) -> Operation:
    return Operation(**{**_reduction, **columns})


def _mean(np: Any, x: Any, axis: tuple[int, ...]) -> Any:
    left = tuple(size for i, size in enumerate(x.shape) if i not in axis)
    return np.mean(x, axis=axis) if all(x.shape[i] for i in axis) else np.full(left, np.nan)


def _std(np: Any, x: Any, axis: tuple[int, ...]) -> Any:
    centred = x - np.mean(x, axis=axis, keepdims=True)
    count = int(np.prod([x.shape[i] for i in axis], dtype=int))
    return np.sqrt(np.sum(np.abs(centred) ** 2, axis=axis) / (count - 1))


def _norm(np: Any, x: Any, axis: tuple[int, ...], order: Any = 2) -> Any:
    size = np.abs(x)
    if order is None:
        return np.max(size, axis=axis, initial=0.0)
    if order == 2:
        return np.sqrt(np.sum(size**2, axis=axis))
    return np.sum(size ** float(order), axis=axis) ** (1 / float(order))


REDUCTIONS = (
    _reduced(
        name="sum", smooth="smooth", means="the sum of the entries", range="(-∞, ∞)",
        numpy=lambda np, x, axis: np.sum(x, axis=axis),
        opt=Call("sum", keywords=AXES), latex=Form(r"\sum x"), torch=Call("torch.sum"), c=Form("total += x"),
        triton=Call("tl.sum"),
    ),
    _reduced(
        name="mean", smooth="smooth", type=t.real_reduced, means="the mean of the entries", range="x",
        numpy=_mean, opt=Call("mean", keywords=AXES), latex=Call("mean"), torch=Call("torch.mean"),
        c=Form("a sum, divided"), triton=Form("a sum, divided"),
    ),
    _reduced(
        name="amax", means="the largest entry, `max(x)`", range="x",
        numpy=lambda np, x, axis: np.max(x, axis=axis, initial=-np.inf),
        opt=Call("max", 1, None, AXES), latex=Call(r"\max"), torch=Call("torch.amax"),
        c=Form("largest = max_(largest, x)"), triton=Call("tl.max"),
    ),
    _reduced(
        name="amin", means="the smallest entry, `min(x)`", range="x",
        numpy=lambda np, x, axis: np.min(x, axis=axis, initial=np.inf),
        opt=Call("min", 1, None, AXES), latex=Call(r"\min"), torch=Call("torch.amin"),
        c=Form("smallest = min_(smallest, x)"), triton=Call("tl.min"),
    ),
    _reduced(
        name="std", type=t.real_reduced, means="the standard deviation, with N − 1", range="[0, ∞)",
        domain=absent("more than one entry, by the axes: prove/forms/domain"), numpy=_std,
        opt=Call("std", keywords=AXES), latex=Call("std"), torch=Call("torch.std"), c=Form("two passes of sums"),
        triton=Form("two passes of sums"),
    ),
    _reduced(
        name="norm", attributes=Normed, type=t.real_reduced, range="[0, ∞)",
        means="the root of the sum of squares, also `‖x‖`; `‖x‖[1]`, `‖x‖[∞]`", numpy=_norm,
        opt=Call("norm", keywords=AXES), latex=Form(r"\Vert x \Vert"), torch=Call("torch.linalg.vector_norm"),
        c=Form("a sum, and its root"), triton=Form("a sum, and its root"),
    ),
    _reduced(
        name="size", reach="entry", smooth="steps", type=t.constant(INT),
        means="how many entries; of an index set, how many elements", degree=LOST,
        range="[1, ∞)", derivative=("0",), numpy=absent("the count of what a reduction covers: evaluate/numeric"),
        opt=Call("size", keywords=AXES), latex=Call("size"), torch=Form("x.numel()"), c=Form("extent"),
        triton=Form("extent"),
    ),
    _reduced(
        name="native", reach="entry",
        smooth="steps", attributes=Placed, type=t.constant(INT), degree=LOST, range="[1, ∞)",
        derivative=("0",),
        means="the size of one axis of the tensor as the user made it; −1 is the last",
        numpy=absent("of the tensor as the user made it: evaluate/frame"), sympy=NO_SYMPY,
        opt=Call("native", 2, 2), latex=Call("native"), torch=Form("x.shape[k]"), c=Form("extent"),
        triton=Form("extent"),
    ),
)  # fmt: skip

# ---- matrices --------------------------------------------------------------------------------------------------------

_linear: dict[str, Any] = {
    "kind": "matrix", "type": t.same, "definition": PRIMITIVE, "derivative": ADJOINT, "degree": SAME,
    "parity": TENSOR, "smooth": "kinks", "monotone": TENSOR, "range": "(-∞, ∞)",
    "domain": EVERYWHERE, "known": TENSOR, "axioms": BY_LAW,
    "exact": ENTRIES, "enclosure": ENTRIES, "sympy": NO_SYMPY, "c": NO_KERNEL, "triton": NO_KERNEL,
}  # fmt: skip


def _matrix(**columns: Any) -> Operation:
    name = columns["name"]
    words = {"opt": Call(name, columns.get("arity", 1), columns.get("arity", 1)), "latex": Call(name)}
    return Operation(**{**_linear, **words, "torch": Call(f"matrices.{name}"), **columns})


def _solve(np: Any, a: Any, b: Any) -> Any:
    return np.linalg.solve(a, b[..., None])[..., 0] if b.ndim < a.ndim else np.linalg.solve(a, b)


def _polar(np: Any, x: Any) -> Any:
    u, _, v = np.linalg.svd(x, full_matrices=False)
    return u @ v


def _matrix_power(np: Any, a: Any, p: Any) -> Any:
    if float(p).is_integer():
        return np.linalg.matrix_power(a, int(p))
    values, vectors = np.linalg.eigh(a)
    return (vectors * values[..., None, :] ** float(p)) @ np.swapaxes(vectors, -1, -2)


def _keep_largest(np: Any, x: Any, count: Any) -> Any:
    flat = np.ravel(x)
    kept = np.zeros(flat.size, dtype=bool)
    kept[np.argsort(-flat, kind="stable")[: round(float(count))]] = True
    return np.where(kept, flat, 0.0).reshape(np.shape(x))


def _rank_of(np: Any, x: Any) -> Any:
    flat = np.ravel(x)
    rank = np.empty(flat.size)
    rank[np.argsort(-flat, kind="stable")] = np.arange(1.0, flat.size + 1)
    return rank.reshape(np.shape(x))


def _unit(np: Any, x: Any) -> Any:
    length = np.sqrt(np.sum(np.abs(x) ** 2))
    return x / length if length != 0 else np.zeros_like(x)


def _positive_definite(np: Any, a: Any) -> Any:
    try:
        np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        return np.asarray(False)
    return np.asarray(True)


MATRICES = (
    _matrix(
        name="matmul", smooth="smooth", arity=2, type=t.product, means="the product of matrices and vectors, `A @ b`",
        degree=Powers(("1", "1")), numpy=lambda np, a, b: a @ b, sympy=BY_ENTRIES,
        opt=Infix(" @ ", "product"), latex=Form("A b"), torch=Call("torch.matmul"),
    ),
    _matrix(
        name="outer", reach="entry", smooth="smooth", arity=2, type=t.outer, means="the matrix of products of entries",
        degree=Powers(("1", "1")),
        numpy=lambda np, a, b: a[..., :, None] * b[..., None, :], sympy=BY_ENTRIES, latex=Form(r"a b^{\top}"),
    ),
    _matrix(
        name="transpose", smooth="smooth", type=t.transposed, means="rows and columns exchanged, also `Xᵀ`", range="x",
        numpy=lambda np, x: np.swapaxes(x, -1, -2), sympy=BY_ENTRIES, latex=Form(r"X^{\top}"), torch=Form("x.mT"),
    ),
    _matrix(
        name="trace", smooth="smooth", type=t.scalar_kind, means="the sum of the diagonal",
        numpy=lambda np, a: np.trace(a, axis1=-2, axis2=-1), sympy=BY_ENTRIES, latex=Call("tr"),
    ),
    _matrix(
        name="diagonal", smooth="smooth", type=t.diagonal, means="the diagonal of a square matrix", range="x",
        axioms=NO_LAW,
        numpy=lambda np, a: np.diagonal(a, axis1=-2, axis2=-1), latex=Call("diag"),
    ),
    _matrix(name="tril", smooth="smooth", means="the part on and below the diagonal", axioms=NO_LAW,
    numpy=lambda np, a: np.tril(a)),
    _matrix(
        name="inverse", smooth="smooth", type=t.square, means="the inverse of a square matrix", degree=Powers(("-1",)),
        numpy=lambda np, a: np.linalg.inv(a), latex=Form("X^{-1}"),
        domain=absent("det(x) is not 0: no sentence says it"),
    ),
    _matrix(
        name="solve", smooth="smooth", arity=2, type=t.solution, means="`inverse(A) @ b`, without the inverse",
        degree=Powers(("-1", "1")), numpy=_solve, latex=Form("A^{-1} b"),
        domain=absent("det(x) is not 0: no sentence says it"),
    ),
    _matrix(
        name="qr", means="the orthogonal factor of the QR decomposition", degree=LOST, range="[-1, 1]", exact=NO_EXACT,
        enclosure=NO_EXACT, axioms=NO_LAW, numpy=lambda np, a: np.linalg.qr(a)[0],
    ),
    _matrix(
        name="eigenvectors", type=t.square, means="eigenvectors of a symmetric matrix, of the largest eigenvalue first",
        degree=LOST, range="[-1, 1]", exact=NO_EXACT, enclosure=NO_EXACT, axioms=NO_LAW,
        numpy=lambda np, a: np.linalg.eigh(a)[1][..., ::-1],
    ),
    _matrix(
        name="top_eigenvector", type=t.vector_of, means="an eigenvector of the largest eigenvalue", degree=LOST,
        range="[-1, 1]", exact=NO_EXACT, enclosure=NO_EXACT, axioms=NO_LAW,
        numpy=lambda np, a: np.linalg.eigh(a)[1][..., -1],
    ),
    _matrix(
        name="svdvals", type=t.real_vector_of, means="the singular values, largest first", range="[0, ∞)",
        axioms=NO_LAW, numpy=lambda np, a: np.linalg.svd(a, compute_uv=False),
    ),
    _matrix(
        name="polar", means="the closest matrix with orthonormal columns or rows, U V^T of X = U S V^T", degree=LOST,
        range="[-1, 1]", numpy=_polar,
    ),
    _matrix(
        name="matrix_power", arity=2, type=t.square, means="of a symmetric matrix, any real power", degree=EXPONENT,
        exact=NO_EXACT, enclosure=NO_EXACT, axioms=NO_LAW, numpy=_matrix_power, latex=Form("X^{p}"),
    ),
    _matrix(
        name="spectral_norm", type=t.scalar_of, means="the largest singular value", range="[0, ∞)",
        numpy=lambda np, a: np.linalg.svd(a, compute_uv=False)[..., 0],
    ),
    _matrix(
        name="spectral_radius", type=t.scalar_of, means="the largest |eigenvalue|", range="[0, ∞)",
        numpy=lambda np, a: np.max(np.abs(np.linalg.eigvals(a)), axis=-1),
    ),
    _matrix(
        name="positive_definite", smooth="steps", type=t.constant(BOOL),
        means="whether xᵀ A x > 0 for every x that is not 0",
        degree=LOST, range="[0, 1]", derivative=("0",), numpy=_positive_definite,
    ),
    _matrix(
        name="columns", arity=2, means="the columns in an order that is given", range="x", exact=NO_EXACT,
        enclosure=NO_EXACT, axioms=NO_LAW, numpy=lambda np, a, order: np.take(a, np.asarray(order, dtype=int), axis=-1),
    ),
    _matrix(
        name="unit", reach="tensor", means="x/‖x‖, and 0 of 0", degree=LOST, range="[-1, 1]",
        domain=absent("‖x‖ is not 0, by the axes: prove/forms/domain"), numpy=_unit, opt=Call("unit", keywords=AXES),
    ),
    _matrix(
        name="argmax", reach="tensor",
        smooth="steps", type=t.constant(INT), means="the place of the largest entry", degree=LOST,
        derivative=("0",),
        range="[0, ∞)", exact=NO_EXACT, enclosure=NO_EXACT, axioms=NO_LAW, opt=Call("argmax", keywords=AXES),
        numpy=lambda np, x: float(np.argmax(x)), latex=Call("argmax"), torch=Call("torch.argmax"),
    ),
    _matrix(
        name="argsort", reach="row",
        smooth="steps", type=t.of_kind("int"), means="the places of the entries, from the smallest",
        degree=LOST,
        derivative=("0",), range="[0, ∞)", exact=NO_EXACT, enclosure=NO_EXACT, axioms=NO_LAW,
        numpy=lambda np, x: np.argsort(x, axis=-1, kind="stable").astype(float), opt=Call("argsort", keywords=AXES),
    ),
    _matrix(
        name="rank_of", reach="tensor",
        smooth="steps", type=t.of_kind("int"), means="1 for the largest entry, 2 for the next",
        degree=LOST,
        derivative=("0",), range="[1, ∞)", exact=NO_EXACT, enclosure=NO_EXACT, axioms=NO_LAW, numpy=_rank_of,
        opt=Call("rank_of", keywords=AXES),
    ),
    _matrix(
        name="keep_largest", reach="tensor", arity=2, means="the largest entries, and 0 for the others", exact=NO_EXACT,
        enclosure=NO_EXACT, axioms=NO_LAW, numpy=_keep_largest,
    ),
    _matrix(
        name="cumsum", reach="row",
        smooth="smooth", means="running sums along the last axis", exact=NO_EXACT, enclosure=NO_EXACT,
        axioms=NO_LAW,
        numpy=lambda np, x: np.cumsum(x, axis=-1), opt=Call("cumsum", keywords=AXES), torch=Call("torch.cumsum"),
    ),
)  # fmt: skip

COMPLEX = absent("of complex numbers, of which no claim speaks")
_complex: dict[str, Any] = {
    "kind": "complex", "definition": PRIMITIVE,
    "derivative": absent("of complex numbers, which are not differentiated"), "degree": SAME, "parity": COMPLEX,
    "smooth": COMPLEX,
    "monotone": COMPLEX, "range": "(-∞, ∞)",
    "domain": EVERYWHERE, "known": COMPLEX, "axioms": COMPLEX, "exact": COMPLEX,
    "enclosure": COMPLEX, "sympy": COMPLEX, "c": absent("no kernel computes complex numbers"),
    "triton": absent("no kernel computes complex numbers"),
}  # fmt: skip


def _of_complex(name: str, kind: str, means: str, numpy: Any, **columns: Any) -> Operation:
    words = {"opt": Call(name), "latex": Call(name.capitalize() if name in ("re", "im") else name)}
    given = {**_complex, **words, "torch": absent("no rule of torch has complex values yet"), **columns}
    return Operation(name=name, type=t.of_kind(kind), means=means, numpy=numpy, **given)


COMPLEX_NUMBERS = (
    _of_complex("cis", "complex", "cos(x) + i*sin(x)", lambda np, x: np.exp(1j * x), degree=PLAIN),
    _of_complex("re", "real", "the real part", lambda np, x: np.real(x)),
    _of_complex("im", "real", "the imaginary part", lambda np, x: np.imag(x)),
    _of_complex("conj", "complex", "the complex conjugate", lambda np, x: np.conj(x)),
)
