"""Optimizers and update rules as a few equations, compiled to torch, C and Triton, with their claims decided.

    import dotopt
    lion = dotopt.load("lion.opt")              # a module: lion.Lion is the class
    from dotopt.stdlib import AdamP, Adan       # compiled on first use, cached
    dotopt.check("lion.opt")                    # what is proved, refuted, open
    dotopt.test("lion.opt")                     # every backend and claim on random examples
    dotopt.compile("lion.opt", "lion.py")       # a readable module that needs torch and dotopt.runtime only
    dotopt.route(model, {Muon: "matrices", AdamW: "rest"})
    dotopt.attach(model, Lion, lr=1e-4)         # steps inside backward, and frees each gradient
    dotopt.aggregate(losses, params, PCGrad())  # one gradient out of those of several tasks

Nothing is loaded before it is asked for: the compiler, torch and the prover come with the first call that needs them.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HERE = os.path.dirname(os.path.abspath(__file__))
if os.path.isfile(os.path.join(_HERE, "compiler")):
    # A checkout without symbolic links (a ZIP, Windows, core.symlinks=false): the folders stand beside this one.
    if not os.path.isdir(os.path.join(os.path.dirname(_HERE), "compiler")):
        raise ImportError(
            f"{_HERE} is a part of a checkout without symbolic links: its folder `compiler` is a text file; "
            "take the whole checkout, or install from a wheel"
        )
    __path__.append(os.path.dirname(_HERE))

if TYPE_CHECKING:
    from dotopt.compiler.text.errors import OptError
    from dotopt.runtime.functions.aggregate import aggregate
    from dotopt.runtime.loading.catalogue import names
    from dotopt.runtime.loading.load import compile, load
    from dotopt.runtime.optimizer.attach import attach
    from dotopt.runtime.optimizer.route import route
    from dotopt.runtime.property import test
    from dotopt.runtime.report.checking import check

_HOME = {
    "OptError": "dotopt.compiler.text.errors",
    "aggregate": "dotopt.runtime.functions.aggregate",
    "attach": "dotopt.runtime.optimizer.attach",
    "check": "dotopt.runtime.report.checking",
    "compile": "dotopt.runtime.loading.load",
    "load": "dotopt.runtime.loading.load",
    "names": "dotopt.runtime.loading.catalogue",
    "route": "dotopt.runtime.optimizer.route",
    "test": "dotopt.runtime.property",
}

__all__ = ["OptError", "__version__", "aggregate", "attach", "check", "compile", "load", "names", "route", "test"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dotopt' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
