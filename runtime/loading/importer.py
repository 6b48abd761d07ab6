"""After `import dotopt.importer`, `import lion` finds `lion.opt` on `sys.path`.

A `.py` file or package of the same name wins, as always: the finder stands last. It answers to the user's own code
only: an installed library that looks whether `cupy` is there is not told of a `cupy.opt`. Importing runs no code from
the file but the arithmetic that it states.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType


class OptLoader(Loader):
    """Fills a module with what its `.opt` file defines."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """None: the usual module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Compile the file, or take it from the cache; raises `OptError` if it is broken."""
        from dotopt.runtime.loading.load import load

        own = {"__name__", "__spec__", "__loader__", "__package__", "__path__"}
        compiled = vars(load(self.path))
        module.__dict__.update({name: value for name, value in compiled.items() if name not in own})


class OptFinder(MetaPathFinder):
    """Finds `NAME.opt` in the folders of `sys.path`, or of the package that is asked for it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of `fullname`, or None if no folder has such a file, or if installed code asks for a top module."""
        if path is None and _asker_is_installed():
            return None
        wanted = fullname.rpartition(".")[2] + ".opt"
        for folder in sys.path if path is None else path:
            file = Path(folder or ".") / wanted
            if file.is_file():
                file = file.resolve()
                return importlib.util.spec_from_file_location(fullname, file, loader=OptLoader(file))
        return None


def _asker_is_installed() -> bool:
    """Whether the code that imports something right now is an installed package, and not the user's own."""
    frame: FrameType | None = sys._getframe(2)
    packages, standard = _folders()
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(packages):
            return True
        if not file.startswith(standard):  # what importlib or runpy look for, they look for in the name of others
            return False
        frame = frame.f_back
    return False


@cache
def _folders() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Where installed packages are, and where the standard library is; each ends in a separator."""
    packages = {folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")}
    packages |= {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    return tuple(folder + os.sep for folder in packages), ("<frozen ", *(folder + os.sep for folder in standard))


def install() -> None:
    """Add the finder to `sys.meta_path`, once."""
    if not any(isinstance(finder, OptFinder) for finder in sys.meta_path):
        sys.meta_path.append(OptFinder())


install()
