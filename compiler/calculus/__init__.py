"""Derivatives on the intermediate representation, by the reverse mode: a table of adjoints, one row an operation.

    gradient(e, x)            the transposed derivative of e, applied to ones (of a scalar e: its gradient)
    jacobian_vector(e, x, v)  the derivative of e along v: the reverse mode, applied to its own result

The adjoint of a value has the axes of the value: what broadcasting copied is summed. Where a function has no
derivative the choice is that of torch.autograd: 0 for |x|, norms and std at 0, at a tie `max(a, b)` gives half to
each, a maximum over entries is shared evenly among those that attain it, and relu' (0) = 0. The adjoint of a branch
stays inside the branch, so that a value that was not taken cannot reach the result, not even as 0*∞.
"""

from __future__ import annotations

from dotopt.compiler.calculus.reverse import gradient, jacobian_vector, pullback, unroll
from dotopt.compiler.calculus.shapes import NotDifferentiable

__all__ = ["NotDifferentiable", "gradient", "jacobian_vector", "pullback", "unroll"]
