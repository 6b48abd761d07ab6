"""Inner problems in NumPy: argmin, root and cg of a function that stands in the graph.

quadratic argmin   the gradient is affine in u: one linear system, by least squares where it is singular
other argmin       Newton's method with the exact Hessian and a backtracking line search; every named method
                   (levenberg_marquardt, newton, lbfgs) is judged by this one, since all stop at the same point
root               Newton's method with the exact Jacobian
cg                 conjugate gradients on a linear function; tuples allowed
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dotopt.compiler.calculus import gradient
from dotopt.compiler.evaluate.frame import Frame, Value, depending
from dotopt.compiler.ir import Lambda, Node

Array = NDArray[np.float64]
Function = Callable[[Array], Array]


def solution(frame: Frame, here: Node, tensor: int) -> Value:
    """The value of an argmin, root or cg node; raises NotImplementedError for a prox that is not smooth."""
    function: Lambda = here.attrs.function
    options = dict(zip(here.attrs.options, here.args[1:] if here.op == "cg" else here.args, strict=False))
    given = {name: frame.value(node, tensor) for name, node in options.items()}
    if here.op == "cg":
        return _conjugate_gradients(frame, function, frame.value(here.args[0], tensor), given, tensor)
    (variable,) = function.variables
    start = np.asarray(given["from"]) if "from" in given else np.zeros(frame.shape(here.type.axes, tensor))
    start = np.broadcast_to(start, frame.shape(here.type.axes, tensor)) if start.ndim == 0 else start
    tolerance, most = float(given.get("tol", 1e-12)), int(given.get("most", 100))
    if here.op == "root":
        return _newton(_at(frame, variable, function.body, tensor), start, tolerance, most)
    slope = _at(frame, variable, gradient(function.body, variable), tensor)
    level = _at(frame, variable, function.body, tensor)
    return _minimum(level, slope, start, tolerance, most)


def _at(frame: Frame, variable: Node, body: Node, tensor: int) -> Function:
    leaves = {here for here in body.walk() if here.op == "leaf" and frame.home(here).outer is not None}
    outer = {(here, k): frame.value(here, k) for here in leaves for k in frame.world.tensors}  # bound further out
    inside = depending((body,), (variable, *leaves))

    def at(point: Array) -> Array:
        bound = outer | {(variable, k): point for k in frame.world.tensors}
        return np.asarray(Frame(frame.world, frame, bound, inside, frame.path).value(body, tensor), dtype=np.float64)

    return at


def _jacobian(function: Function, point: Array, value: Array) -> tuple[Array, bool]:
    """The Jacobian, exact if the function is affine, by central differences if not; and which of the two it is."""
    basis = np.eye(point.size)
    affine = np.stack([(function(point + e.reshape(point.shape)) - value).ravel() for e in basis], axis=-1)
    far = np.cos(np.arange(1.0, point.size + 1)).reshape(point.shape)
    expected = value.ravel() + affine @ far.ravel()
    scale = 1 + np.max(np.abs(expected), initial=0)
    if np.allclose(function(point + far).ravel(), expected, rtol=1e-9, atol=1e-9 * scale):
        return affine, True
    h = 1e-5 * (1 + np.max(np.abs(point), initial=0))
    columns = [
        (function(point + h * e.reshape(point.shape)) - function(point - h * e.reshape(point.shape))) for e in basis
    ]
    return np.stack([column.ravel() / (2 * h) for column in columns], axis=-1), False


def _minimum(level: Function, slope: Function, point: Array, tolerance: float, most: int) -> Array:
    for _ in range(most):
        g = slope(point)
        hessian, affine = _jacobian(slope, point, g)
        if affine:
            return point - np.linalg.lstsq(hessian, g.ravel(), rcond=None)[0].reshape(point.shape)
        if np.linalg.norm(g) <= tolerance:
            break
        values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
        curved = np.maximum(np.abs(values), 1e-10 * np.max(np.abs(values)) + 1e-300)
        move = -(vectors @ ((vectors.T @ g.ravel()) / curved)).reshape(point.shape)
        step, before = 1.0, float(level(point))
        while step > 1e-12 and not float(level(point + step * move)) <= before:
            step /= 2
        if step <= 1e-12:
            break
        point = point + step * move
    return point


def _newton(function: Function, point: Array, tolerance: float, most: int) -> Array:
    for _ in range(most):
        value = function(point)
        if np.linalg.norm(value) <= tolerance:
            break
        jacobian, _ = _jacobian(function, point, value)
        point = point - np.linalg.lstsq(jacobian, value.ravel(), rcond=None)[0].reshape(point.shape)
    return point


def _conjugate_gradients(frame: Frame, function: Lambda, right: Value, given: dict[str, Any], tensor: int) -> Value:
    parts = right if isinstance(right, tuple) else (right,)
    inside = depending((function.body,), function.variables)

    def joined(value: Value) -> Array:
        pieces = value if isinstance(value, tuple) else (value,)
        return np.concatenate([np.ravel(piece) for piece in pieces])

    def apart(flat: Array) -> tuple[Array, ...]:
        ends = np.cumsum([np.size(part) for part in parts])
        return tuple(
            piece.reshape(np.shape(part)) for piece, part in zip(np.split(flat, ends[:-1]), parts, strict=True)
        )

    def apply(flat: Array) -> Array:
        bound = {(v, k): p for v, p in zip(function.variables, apart(flat), strict=True) for k in frame.world.tensors}
        return joined(Frame(frame.world, frame, bound, inside).value(function.body, tensor))

    b = joined(right)
    x, r, p = np.zeros_like(b), b, b
    for _ in range(int(given.get("most", 1000))):
        if np.linalg.norm(r) <= float(given.get("tol", 1e-10)) * np.linalg.norm(b):
            break
        q = apply(p)
        a = (r @ r) / (p @ q)
        x, after = x + a * p, r - a * q
        p, r = after + (after @ after) / (r @ r) * p, after
    solved = apart(x)
    return solved if isinstance(right, tuple) else solved[0]
