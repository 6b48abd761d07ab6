"""The direction of imports: grammar <- compiler <- runtime <- dotopt, all of them under the name `dotopt`."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("grammar", "compiler", "stdlib", "runtime")
EVERYWHERE = (*LAYERS, "dotopt", "tests", "examples", "bench", "docs")

# What no file of a folder imports, neither at the top nor inside a function: the compiler only writes text that uses
# torch and triton.
NEVER = {
    "grammar": ("torch", "triton", "sympy", "z3", "dotopt.compiler", "dotopt.stdlib", "dotopt.runtime"),
    "compiler": ("torch", "triton", "dotopt.stdlib", "dotopt.runtime"),
}
# What a folder imports inside functions at most, so that `import dotopt` stays as cheap as `import torch`.
LATE = {"runtime": ("sympy", "z3", "triton"), "stdlib": ("sympy", "z3", "triton"), "dotopt": ("sympy", "z3", "triton")}


@pytest.mark.parametrize("folder", EVERYWHERE)
def test_every_import_goes_through_dotopt(folder: str) -> None:
    """`import compiler.ir` also works at the root of a checkout, and gives second copies of the classes."""
    assert offences(folder, LAYERS) == []


@pytest.mark.parametrize(("folder", "modules"), NEVER.items())
def test_layers(folder: str, modules: tuple[str, ...]) -> None:
    assert offences(folder, modules) == []


@pytest.mark.parametrize(("folder", "modules"), LATE.items())
def test_heavy_modules_are_imported_late(folder: str, modules: tuple[str, ...]) -> None:
    kernels = ("runtime/backends/triton_symmetric.py", "runtime/sequence/kernels.py")  # imported when a card is used
    found = [x for x in offences(folder, modules, at_import=True) if not x.startswith(kernels)]
    assert found == []


def test_import_dotopt_adds_no_heavy_module() -> None:
    code = (
        "import sys, torch; before = set(sys.modules); import dotopt; "
        "print(*sorted({'sympy', 'z3', 'triton', 'sklearn', 'matplotlib'} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import compiler.ir", ["compiler.ir"]),
        ("from compiler import ir", ["compiler", "compiler.ir"]),
        ("import dotopt.compiler as compiler", []),
        ("from dotopt import compiler", []),
        ("from . import compiler", []),
        ("def f():\n    import grammar", ["grammar"]),
    ],
)
def test_the_search_itself(code: str, found: list[str]) -> None:
    assert [name for _, name in imported(ast.parse(code)) if below(name, LAYERS)] == found


def test_the_search_tells_early_from_late() -> None:
    code = "if TYPE_CHECKING:\n    import z3\ntry:\n    import sympy\nfinally:\n    pass\ndef f():\n    import triton"
    assert [name for _, name in imported(ast.parse(code), at_import=True)] == ["sympy"]


def offences(folder: str, modules: tuple[str, ...], at_import: bool = False) -> list[str]:
    """`file:line imports module`, for each import of one of `modules` in the Python files of a folder."""
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in imported(ast.parse(path.read_text(encoding="utf-8")), at_import)
        if below(name, modules)
    ]


def imported(node: ast.AST, at_import: bool = False) -> Iterator[tuple[int, str]]:
    """The line and dotted name of each absolute import; `from a import b` gives `a` and `a.b`.

    With `at_import`, only those that run when the module is imported: not in functions, not for type checkers only.
    """
    match node:
        case ast.Import(names=names):
            yield from ((node.lineno, name.name) for name in names)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{name.name}") for name in names)
        case ast.FunctionDef() | ast.AsyncFunctionDef() if at_import:
            pass
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) if at_import:
            for otherwise in node.orelse:
                yield from imported(otherwise, at_import)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from imported(child, at_import)


def below(name: str, modules: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of `modules` or lies inside one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)
