"""What a notebook shows of an optimizer: its equations, as a paper prints them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path


@cache
def equations(origin: tuple[str, str, str] | None) -> str | None:
    r"""The equations of the class with this origin, in LaTeX with dollar signs; None for a class without a file.

    Of a composition, those of its rules from the inside out.

    >>> print(equations(("library", "optimizers/signsgd.opt", "SignSGD")).splitlines()[2])
    g_{t} &= \nabla f(\theta_{t-1}) + \lambda \theta_{t-1} \\
    """
    from dotopt.compiler.emit.latex.equations import latex
    from dotopt.compiler.text.library import Library, load
    from dotopt.grammar.files import library_root

    match origin:
        case ("file", place, _):
            files = [load(Path(place))]
        case ("library", place, _):
            files = [load(library_root() / place)]
        case ("composition", expression, places):
            known = dict(entry.split("=", 1) for entry in places.split("; ") if entry)
            names = reversed(re.findall(r"[^\W\d]\w*(?=[()]|$)", expression))
            found = [load(Path(known[name])) if name in known else Library().file(name) for name in names]
            files = [file for file in found if file is not None]
        case _:
            return None
    parts = [latex(file) for file in files]
    return "$\\displaystyle\n" + "\n$\n\n$\\displaystyle\n".join(parts) + "\n$"
