"""What a notebook shows of an optimizer: its equations, as a paper prints them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dotopt.runtime.loading.composition import Origin


@cache
def equations(origin: Origin | None) -> str | None:
    r"""The equations of the class with this origin, in LaTeX with dollar signs; None for a class without a file.

    Of a composition, those of its rules from the inside out.

    >>> print(equations(("library", "optimizers/signsgd.opt", "SignSGD")).splitlines()[2])
    g_{t} &= \nabla f(\theta_{t-1}) + \lambda \theta_{t-1} \\
    """
    from dotopt.compiler.emit.latex.equations import latex
    from dotopt.compiler.text.library import load
    from dotopt.runtime.loading.composition import parts

    if origin is None:
        return None
    shown = [latex(load(path)) for _, path in reversed(list(parts(origin)))]
    return "$\\displaystyle\n" + "\n$\n\n$\\displaystyle\n".join(shown) + "\n$"
