"""Equations in LaTeX: balanced, of the shape that a paper prints, and readable for an independent renderer."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotopt.compiler.emit.latex.equations import flat, latex, rows
from dotopt.compiler.parse import parse
from dotopt.compiler.text.source import Source
from dotopt.compiler.text.syntax import File
from dotopt.grammar.files import catalogue

FILES = sorted(catalogue().values()) + sorted((Path(__file__).parent / "worked").glob("*.opt"))


def written(body: str) -> str:
    head = "rule R\nobjective f\nparam x : real[rows, cols]\nhyper β1\nstate m : like x = 0\n"
    return latex(parse(Source("r.opt", head + body)))


@cache
def tree(path: Path) -> File:
    return parse(Source(path.name, path.read_text(encoding="utf-8")))


def balanced(text: str) -> bool:
    """Braces, `\\left` … `\\right` and environments close in order."""
    stack: list[str] = []
    for token in re.findall(r"\\left|\\right|\\begin\{\w+\}|\\end\{\w+\}|\\[{}]|[{}]", text):
        opened = {"}": "{", r"\right": r"\left"}.get(token, token.replace("end", "begin"))
        if token in ("{", r"\left") or token.startswith(r"\begin"):
            stack.append(token)
        elif opened != token and (not stack or stack.pop() != opened):
            return False
    return not stack


def test_the_test_of_balance_can_fail() -> None:
    assert balanced(r"\left({a}\right) \{ \begin{cases} x \end{cases}")
    assert not any(map(balanced, (r"\left(", "{", "}", r"\begin{cases}", r"\begin{cases}\end{aligned}", r"{\right}")))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_is_balanced(path: Path) -> None:
    text = latex(tree(path))
    assert balanced(text)
    assert text.isascii(), [character for character in text if not character.isascii()]


@pytest.mark.parametrize("name", ["adafactor", "newton_schulz", "pcgrad", "scaffold", "sinkhorn_newton_sparse", "soap"])
def test_matplotlib_renders_every_equation(name: str) -> None:
    """matplotlib's own reader of LaTeX accepts each line; it knows no environments, so cases come one by one."""
    from matplotlib.mathtext import MathTextParser

    parser = MathTextParser("path")
    lines = [line for row in rows(tree(catalogue()[f"{name}.opt"])) for line in flat(row)]
    assert lines
    for left, right in lines:
        parser.parse(f"${left} {right}$")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("m' = β1*m + (1 - β1)*∇f(x)", r"m_{t} &= \beta_{1} m_{t-1} + (1 - \beta_{1}) \nabla f(x_{t-1})"),
        ("x' = x - m'/(√(m'*m') + 1e-8)", r"x_{t} &= x_{t-1} - \frac{m_{t}}{\sqrt{m_{t} \odot m_{t}} + 10^{-8}}"),
        ("x' = x @ xᵀ @ x", r"x_{t} &= x_{t-1} x_{t-1}^{\top} x_{t-1}"),
        ("m' = m^2\nx' = -(x + m)^2", r"x_{t} &= -(x_{t-1} + m_{t-1})^{2}"),
        ("x' = x - (x - m)", r"x_{t} &= x_{t-1} - (x_{t-1} - m_{t-1})"),
        ("x' = x/‖x‖", r"x_{t} &= \frac{x_{t-1}}{\Vert x_{t-1}\Vert }"),
        ("x' = m every 5 otherwise x", r"x_{t} &= m_{t-1} \quad \text{every }5\text{, otherwise }x_{t-1}"),
        (
            "x' = m if β1 > 0 else x",
            r"x_{t} &= \begin{cases} m_{t-1} & \text{if }\beta_{1} > 0 \\ x_{t-1} & \text{otherwise} \end{cases}",
        ),
    ],
)
def test_as_a_paper_prints_it(body: str, expected: str) -> None:
    assert expected in written(body)


def test_a_loop_counts_its_passes() -> None:
    text = written("iterate X from x repeat 3:\n  X' = X @ Xᵀ @ X\nx' = X")
    assert r"X_{0} &= x_{t-1}" in text
    assert r"\text{for }j = 0, \ldots, 3 - 1:" in text
    assert r"X_{j+1} &= X_{j} X_{j}^{\top} X_{j}" in text


LEAVES = st.sampled_from(["x", "m", "2", "β1"])


@given(st.recursive(LEAVES, lambda inner: st.tuples(st.sampled_from("+-*/"), inner, inner), max_leaves=8))
def test_any_expression_is_balanced(expression: object) -> None:
    def text(node: object) -> str:
        return f"({text(node[1])} {node[0]} {text(node[2])})" if isinstance(node, tuple) else str(node)

    assert balanced(written(f"x' = {text(expression)}"))


def test_a_notebook_shows_the_equations(tmp_path: Path) -> None:
    import torch

    import dotopt
    from dotopt.stdlib import Lion, Lookahead

    x = [torch.nn.Parameter(torch.ones(2))]
    lion = latex(tree(catalogue()["lion.opt"]))
    assert lion in Lion(x)._repr_latex_()
    both = Lookahead(Lion)(x)._repr_latex_()
    assert lion in both and latex(tree(catalogue()["lookahead.opt"])) in both
    path = tmp_path / "own.opt"
    path.write_text("rule Own\nobjective f\nparam y : real[...]\ny' = y - ∇f(y)\n", encoding="utf-8")
    assert r"y_{t} &= y_{t-1} - \nabla f(y_{t-1})" in dotopt.load(path).Own(x)._repr_latex_()
