"""Known bugs put into the emitted torch, C and Triton of rules that have a place for one: the property tests catch all.

A bug changes the text that was emitted, never the rule, so the reference stays right. In torch code it is a change of
the syntax tree; in C a change of lines. A bug that does not change a text does not apply to that rule; one that makes
the code crash does not count as caught.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import dotopt.stdlib as stdlib
from dotopt.compiler.emit.torch.optimizer import module
from dotopt.runtime.backends import choice as backends
from dotopt.runtime.backends import cpu
from dotopt.runtime.loading import load as loading
from dotopt.runtime.property.agreement import agreement
from dotopt.runtime.property.outcome import Failed
from dotopt.runtime.property.search import Budget

RULES = (
    "AdaBelief", "Adadelta", "Adagrad", "Adam", "Adamax", "AdamP", "AdamW", "Adan", "ADOPT", "ASGD", "CautiousAdamW",
    "CautiousLion", "LAMB", "Lion", "LionK", "MARS", "Muon", "NAdam", "RAdam", "RMSprop", "ScheduleFreeAdamW", "SGD",
    "SGDP", "SGDSaI", "SignSGD", "Signum",
)  # fmt: skip
IN_C = ("AdamW", "Lion", "NAdam", "SGD")  # each bug costs a run of the C compiler there


# ---- bugs in torch code ----------------------------------------------------------------------------------------------


def called(here: ast.AST, *names: str) -> bool:
    """Whether it calls one of these functions, in place or not."""
    return isinstance(here, ast.Call) and isinstance(here.func, ast.Name) and here.func.id.rstrip("_") in names


def rewrite(change: Callable[[ast.AST], ast.AST | None]) -> Callable[[ast.FunctionDef], None]:
    """A bug that replaces nodes of a step by what `change` gives."""

    class Change(ast.NodeTransformer):
        def visit(self, here: ast.AST) -> Any:
            here = self.generic_visit(here)
            return change(here) or here

    def apply(function: ast.FunctionDef) -> None:
        function.body[:] = [Change().visit(line) for line in function.body]

    return apply


def eps_inside_root(here: ast.AST) -> ast.AST | None:
    if called(here, "add") and called(here.args[0], "sqrt") and "eps" in ast.unparse(here.args[1]):
        inside, eps = ast.unparse(here.args[0].args[0]), ast.unparse(here.args[1])
        return ast.parse(f"sqrt_(add({inside}, {eps}))", mode="eval").body
    return None


def no_bias_correction(here: ast.AST) -> ast.AST | None:
    correction = isinstance(here, ast.Call) and ast.unparse(here.func) == "scalars.complement"
    return ast.Constant(1.0) if correction else None


def swapped_betas(here: ast.AST) -> ast.AST | None:
    other = {"beta1": "beta2", "beta2": "beta1"}
    return ast.Name(other[here.id], here.ctx) if isinstance(here, ast.Name) and here.id in other else None


def decay_of_wrong_sign(here: ast.AST) -> ast.AST | None:
    factor = isinstance(here, ast.BinOp) and isinstance(here.op, ast.Sub | ast.Add) and ast.unparse(here.left) == "1"
    if factor and "lam" in ast.unparse(here.right):
        return ast.BinOp(here.left, ast.Add() if isinstance(here.op, ast.Sub) else ast.Sub(), here.right)
    if called(here, "add") and len(here.args) == 3 and ast.unparse(here.args[2]) == "lam":
        return ast.Call(here.func, [*here.args[:2], ast.parse("-lam", mode="eval").body], here.keywords)
    return None


def decay_after_step(here: ast.AST) -> ast.AST | None:
    """f(mul(x, 1 - η λ), …) becomes mul(f(x, …), 1 - η λ)."""
    if not (called(here, "add", "addcdiv", "addcmul") and called(here.args[0], "mul")):
        return None
    inner = here.args[0]
    if "lam" not in ast.unparse(inner.args[1]):
        return None
    return ast.Call(inner.func, [ast.Call(here.func, [inner.args[0], *here.args[1:]], []), inner.args[1]], [])


def rate_twice(function: ast.FunctionDef) -> None:
    """η² for η, but not in a decay."""

    class Change(ast.NodeTransformer):
        def visit_BinOp(self, here: ast.BinOp) -> Any:
            return here if "lam" in ast.unparse(here) else self.generic_visit(here)

        def visit_Name(self, here: ast.Name) -> Any:
            return ast.parse("(eta * eta)", mode="eval").body if here.id == "eta" else here

    function.body[:] = [Change().visit(line) for line in function.body]


def old_momentum(function: ast.FunctionDef) -> None:
    """What reads m' reads a copy of m, since m' is made in place."""
    for name in ("m_next", "b_next"):
        made = [
            at
            for at, line in enumerate(function.body)
            if isinstance(line, ast.Assign)
            and ast.unparse(line.targets[0]) == name
            and called(line.value, "lerp", "add", "addcmul")
        ]
        if not made:
            continue

        class Change(ast.NodeTransformer):
            def visit_Name(self, here: ast.Name, name: str = name) -> Any:
                reads = here.id == name and isinstance(here.ctx, ast.Load)
                return ast.Name(f"{name}_old", here.ctx) if reads else here

        later = function.body[made[0] + 1 :]
        later = [line if called(getattr(line, "value", None), "store") else Change().visit(line) for line in later]
        kept = ast.parse(f"{name}_old = [s.clone() for s in {name.removesuffix('_next')}]").body
        function.body[:] = [*kept, *function.body[: made[0] + 1], *later]


def first_step_forgotten(function: ast.FunctionDef) -> None:
    """What holds at t == 1 only is dropped."""
    first = [isinstance(line, ast.If) and ast.unparse(line.test) == "t == 1" for line in function.body]
    function.body[:] = [ast.Pass() if at else line for at, line in zip(first, function.body, strict=True)]


def gradients_overwritten(function: ast.FunctionDef) -> None:
    """The step leaves something else in `.grad`."""
    if any(argument.arg == "g" for argument in function.args.args):
        at = len(function.body) - isinstance(function.body[-1], ast.Return)
        function.body[at:at] = ast.parse("g = [x.mul_(2) for x in g]").body


def counted_from_2(here: ast.AST) -> ast.AST | None:
    later = isinstance(here, ast.Name) and here.id == "t" and isinstance(here.ctx, ast.Load)
    return ast.parse("(t + 1)", mode="eval").body if later else None


TORCH: dict[str, Callable[[ast.FunctionDef], None]] = {
    "eps inside the root": rewrite(eps_inside_root),
    "no bias correction": rewrite(no_bias_correction),
    "betas swapped": rewrite(swapped_betas),
    "decay of the wrong sign": rewrite(decay_of_wrong_sign),
    "decay after the step": rewrite(decay_after_step),
    "learning rate twice": rate_twice,
    "old momentum for new": old_momentum,
    "first step forgotten": first_step_forgotten,
    "gradients overwritten": gradients_overwritten,
    "steps counted from 2": rewrite(counted_from_2),
}


@cache
def text_of(name: str) -> str:
    """The emitted module of a rule of the library."""
    _, place, _ = getattr(stdlib, name).origin
    return module(*loading._parsed(loading.library_root() / place), getattr(stdlib, name).origin)


def mutant(name: str, bug: str) -> Any:
    """The class with the bug in every step, or None where it does not apply."""
    tree = ast.parse(text_of(name))
    for function in tree.body:
        if isinstance(function, ast.FunctionDef):
            TORCH[bug](function)
    text = ast.unparse(ast.fix_missing_locations(tree))
    if text == ast.unparse(ast.parse(text_of(name))):
        return None
    # a bug may use functions that the right text has no need of
    more = "import dotopt.runtime.foreach as _all\nadd, sqrt_ = _all.add, _all.sqrt_\n"
    text = text.replace("from dotopt.runtime.optimizer", f"{more}from dotopt.runtime.optimizer", 1)
    return getattr(loading._executed(text, f"mutant_{name}_{bug.replace(' ', '_')}", ""), name)


def caught(cls: Any, backend: str, examples: int) -> bool:
    """Whether the property tests find wrong numbers, in float64."""
    found = agreement(cls, backend, "float64", Budget(examples, seed=1, shrinking=0))
    if not isinstance(found, Failed):
        return False
    assert "is wrong after step" in found.message, found.message
    return True


@pytest.mark.parametrize("most", [5, pytest.param(len(RULES), marks=pytest.mark.thorough)])
@pytest.mark.parametrize("bug", TORCH)
def test_no_bug_survives_in_torch_code(bug: str, most: int) -> None:
    """In five rules that have a place for it, of which each bug begins at another; thoroughly in all."""
    start = len(RULES) * list(TORCH).index(bug) // len(TORCH)
    able = ((name, made) for name in (*RULES[start:], *RULES[:start]) if (made := mutant(name, bug)) is not None)
    mutants = dict(islice(able, most))
    assert len(mutants) >= (3 if bug == "first step forgotten" else 4), f"{bug}: applies to {list(mutants)} only"
    survivors = [name for name, made in mutants.items() if not caught(made, "torch", 100)]
    assert survivors == []


# ---- bugs in C -------------------------------------------------------------------------------------------------------

# lines of the emitted C: pattern, replacement
C = {
    "eps inside the root": (r"\((sqrtf?\()([^()]*(?:\([^()]*\))?[^()]*)\) \+ eps\)", r"\1\2 + eps)"),
    "no bias correction": (r"1\.0/\(1\.0 - pow\(beta[12], t\)\)", "1.0"),
    "betas swapped": (r"(beta[12]) = w->given\[(\d+)\]", None),
    "decay of the wrong sign": (r"1\.0 ([-+]) eta\*(lam|w->given\[\d+\])", None),
    "learning rate twice": (r"(w->host\[\d+\]) = (-?)eta;", r"\1 = \2eta*eta;"),
    "old momentum for new": (r"(?<!float )(?<!double )\bm_next\b(?!\);)", "m"),
}

# what only kernels can get wrong: the rule that has a place for it
LOOPS: dict[str, tuple[str, str, str]] = {
    "the last entry of a piece is left out": ("AdamW", r"i < (stop|end); i\+\+", r"i < \1 - 1; i++"),
    "the first entry of a piece is left out": ("AdamW", r"int64_t i = (start|block);", r"int64_t i = \1 + 1;"),
    "a state is not stored": ("AdamW", r"\n *m_at\[i\] = [^\n]*", ""),
    "a state is stored in the place of another": ("AdamW", r"\bv_at\[i\] = (\w+)\(v_next", r"v_at[i] = \1(m_next"),
    "maximize is ignored": ("AdamW", r"scale\*load", "load"),
    "steps are counted from 2": ("AdamW", r"const double t = (w->given\[\d+\]);", r"const double t = \1 + 1;"),
    "a product is no square": ("AdamW", r"g\*g", "g*m"),
    "the root is left out": ("LAMB", r" sqrt\(u", " fabs(u"),
    "sums end with the first piece": ("LAMB", r"p < w->first\[tensor \+ 1\]", "p < w->first[tensor] + 1"),
    "sums count a piece twice": ("LAMB", r"p = w->first\[tensor\]; p", "p = w->first[tensor] - (tensor > 0); p"),
}


def broken(text: str, bug: str) -> str:
    """The C text with the bug."""
    pattern, wrong = C[bug]
    if bug == "betas swapped":
        slots = dict(re.findall(r"const double (beta[12]) = w->given\[(\d+)\]", text))
        other = {"beta1": "beta2", "beta2": "beta1"}
        return re.sub(pattern, lambda m: f"{m[1]} = w->given[{slots.get(other[m[1]], m[2])}]", text)
    if bug == "old momentum for new":  # where m itself is at hand
        parts = re.split(r"(?=^static )", text, flags=re.MULTILINE)
        return "".join(re.sub(pattern, "m", part) if re.search(r"\bm = load_", part) else part for part in parts)
    if bug == "decay of the wrong sign":
        return re.sub(pattern, lambda m: f"1.0 {'+' if m[1] == '-' else '-'} eta*{m[2]}", text)
    assert wrong is not None
    return re.sub(pattern, wrong, text)


@pytest.fixture
def break_c(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], str]], set[str]]:
    """Makes every C text go through a function; the titles of what it has changed."""

    def install(change: Callable[[str], str]) -> set[str]:
        changed: set[str] = set()
        real = cpu.emit

        def emit(plan: Any, stored: Any, title: str) -> Any:
            right = real(plan, stored, title)
            wrong = change(right.text)
            if wrong != right.text:
                changed.add(title)
            return replace(right, text=wrong)

        monkeypatch.setattr(cpu, "emit", emit)
        monkeypatch.setattr(backends, "_kernels", {})
        return changed

    return install


@pytest.mark.skipif(not cpu.available(), reason="no C compiler")
@pytest.mark.parametrize("bug", LOOPS)
def test_no_bug_survives_in_the_loops_of_c(bug: str, break_c: Any) -> None:
    name, right, wrong = LOOPS[bug]
    changed = break_c(lambda text: re.sub(right, wrong, text))
    found = caught(getattr(stdlib, name), "cpu", 60)
    assert changed and found


@pytest.mark.skipif(not cpu.available(), reason="no C compiler")
@pytest.mark.parametrize("bug", C)
def test_no_bug_survives_in_c(bug: str, break_c: Any) -> None:
    changed = break_c(lambda text: broken(text, bug))
    survivors, applied = [], []
    for name in IN_C:
        changed.clear()
        found = caught(getattr(stdlib, name), "cpu", 60)
        if changed:
            applied.append(name)
            survivors += [] if found else [name]
        else:
            assert not found
    assert len(applied) >= 2, f"{bug}: applies to {applied} only"
    assert survivors == []


# ---- bugs in Triton --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not cpu.available(), reason="no C compiler")
def test_no_bug_survives_in_triton() -> None:
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "interpreted_bugs.py")],
        env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) >= 7
    assert [bug for bug, changed, found in results if not (changed and found)] == []
