"""The formatter: the corpus is its own house style, every text reaches it in one step, comments and trees survive."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dotopt.compiler.emit.text.format import format_text
from dotopt.compiler.emit.text.tokens import read
from dotopt.compiler.parse import parse
from dotopt.compiler.text import syntax
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.source import Source

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*ROOT.glob("tests/worked/*.opt"), *ROOT.glob("stdlib/**/*.opt")])
assert len(FILES) > 100


def tree(text: str) -> Any:
    """The tree with `‖x‖` and `norm(x)` as one form; the parser keeps them apart."""
    return _one_norm(parse(Source("", text)))


def _one_norm(node: Any) -> Any:
    if isinstance(node, tuple):
        return tuple(map(_one_norm, node))
    if isinstance(node, syntax.Norm):
        return syntax.Call(node.span, syntax.Name(node.span, "norm"), (_one_norm(node.operand),))
    if isinstance(node, syntax.Syntax):
        return replace(node, **{field.name: _one_norm(getattr(node, field.name)) for field in fields(node)})
    return node


def comments(text: str) -> list[str]:
    return [line.comment for line in read(Source("", text)) if line.comment]


def unspaced(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_corpus_is_in_house_style(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert format_text(text) == text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_both_spellings_have_the_same_tree(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    plain, symbols = format_text(text, "ascii"), format_text(text, "unicode")
    assert tree(plain) == tree(symbols) == tree(text)
    assert comments(plain) == comments(symbols) == comments(text)
    code = [token.text for line in read(Source("", plain)) for token in line.tokens if token.kind != "string"]
    assert all(map(str.isascii, code))
    assert format_text(plain, "ascii") == format_text(plain) == plain
    assert format_text(symbols, "unicode") == format_text(symbols) == symbols
    assert unspaced(format_text(plain, "unicode")) == unspaced(symbols)
    assert unspaced(format_text(symbols, "ascii")) == unspaced(plain)


@st.composite
def untidy(draw: st.DrawFn) -> tuple[str, str]:
    """A file of the corpus and the same with other white space wherever the language allows it."""
    original = draw(st.sampled_from(FILES)).read_text(encoding="utf-8")
    random = Random(draw(st.integers(0, 2**32)))  # one drawn number: a file has hundreds of gaps
    rate = draw(st.sampled_from([0.0, 0.02, 0.2, 1.0]))
    step = draw(st.integers(1, 5))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    result = []
    for line in read(Source("", original)):
        text = " " * (line.indent // 2 * step)
        for position, token in enumerate(line.tokens):
            gap = " " * token.gap
            if position and random.random() < rate:
                before = line.tokens[position - 1].text
                touch = before in "()[],*+=" or token.text in "()[],*+="
                gap = random.choice(["" if touch else " ", " ", "  ", "   ", "\t", "       "])
                if touch and (before + token.text in ("==", "^*", "+-") or before[0] == token.text[0] == "="):
                    gap = " "
            text += gap + token.text
        if line.comment:
            text += " " * line.comment_gap * (random.random() >= rate) + line.comment
        result.append(text + random.choice(["", "  ", "\t"]) * (random.random() < rate))
        if not line.continues and random.random() < rate / 4:
            result.extend([""] * random.randint(1, 3))
        if not line.continues and random.random() < rate / 8:
            result.append(" " * random.randint(0, 6) + "# a remark")
    return original, newline.join(result)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(untidy())
def test_any_white_space_reaches_house_style_in_one_step(case: tuple[str, str]) -> None:
    original, text = case
    tidy = format_text(text)
    assert format_text(tidy) == tidy
    assert tree(tidy) == tree(original)
    assert comments(tidy) == [comment.rstrip() for comment in comments(text.replace("\r\n", "\n"))]
    assert unspaced(tidy) == unspaced(text)
    assert not re.search(r"[ \t\r]\n|\n\n\n|\t|\A\s|\n\n\Z", tidy) and tidy.endswith("\n")


def test_an_untidy_file() -> None:
    assert format_text(UNTIDY) == TIDY


UNTIDY = '''

"""A rule
   with  two lines."""
rule  A   # head\r
source   "x,y  z"


objective f( x,y ;ξ ):convex ,smooth( 2 )
param\tθ:real[ ... ,rows ]   # odd
hyper  β1   as betas [ 0 ]  in  [0,1)   = .5e0
hyper  η    as lr >0=1e-3
option form in{a,b}=a
state m:like   θ=0
    # about the gradient
g=∇f(θ)-( - 2 )^ - 1
m'  = β1*m+( 1-β1 ) *g @ θ
  where   k = - 1


when θ is real [n] :
      θ' = max( [ 1 ,2 ] , over = n)
        # inside
# outside
otherwise :
      θ' = |θ|*| - m |+ ‖ m' ‖ [1] if not( true )else f( θ ; ξ )
'''.replace(".5e0", "0.5e0")

TIDY = '''"""A rule
   with  two lines."""
rule A    # head
source "x,y  z"

objective f(x, y; ξ) : convex, smooth(2)
param θ : real[..., rows]     # odd
hyper  β1   as betas[0] in [0, 1) = 0.5e0
hyper  η    as lr > 0 = 1e-3
option form in {a, b} = a
state m : like θ = 0
# about the gradient
g = ∇f(θ) - (-2)^-1
m' = β1*m + (1 - β1)*g @ θ
  where k = -1

when θ is real[n]:
  θ' = max([1, 2], over=n)
  # inside
# outside
otherwise:
  θ' = |θ|*|-m| + ‖m'‖[1] if not (true) else f(θ; ξ)
'''


def test_columns_are_the_authors() -> None:
    """Runs of blanks stay where two lines share a column, and go where a line stands alone."""
    aligned = "rule A\nhyper η    as lr  > 0       = 1\nhyper long as b   in [0, 1) = 2\n"
    assert format_text(aligned) == aligned
    alone = "rule A\nhyper η    as lr   > 0   = 1\nhyper longer as b in [0, 1) = 2\n"
    assert format_text(alone) == "rule A\nhyper η as lr > 0 = 1\nhyper longer as b in [0, 1) = 2\n"


def test_a_line_put_into_a_table_joins_it() -> None:
    table = "rule A\nhyper η    as lr  > 0       = 1\n{}hyper long as b   in [0, 1) = 2\n"
    assert format_text(table.format("hyper ε as eps>=0=1\n")) == table.format("hyper ε    as eps >= 0      = 1\n")
    other = "option ε = true\n"
    assert format_text(table.format(other)) == table.format(other)


def test_columns_move_with_the_spelling() -> None:
    text = "rule A\nhyper η  as lr > 0  = 1  # rate\nhyper β1 as b  >= 0 = 2  # decay\ng  = ∇f(η)\nm' = g\n"
    plain = "rule A\nhyper eta   as lr > 0  = 1  # rate\nhyper beta1 as b  >= 0 = 2  # decay\n"
    plain += "g  = grad f(eta)\nm' = g\n"
    assert format_text(text, "ascii") == plain
    assert format_text(text, "unicode") == text.replace("> 0  =", "> 0 =").replace(">= 0", "≥ 0").replace("  #", "   #")


@pytest.mark.parametrize(
    ("symbols", "plain"),
    [
        ("√x² + √(x + y)", "sqrt x^2 + sqrt(x + y)"),
        ("∇²f(x) @ ∇_y f(y)", "grad^2 f(x) @ grad[y] f(y)"),
        ("‖x - ‖y‖‖[∞]²", "norm(x - norm(y))[inf]^2"),
        ("½*x + ½/y", "0.5*x + 0.5/y"),
        ("max(x, ∞)", "max(x, inf)"),
        ("Xᵀ @ Yᵀ", "X^T @ Y^T"),
        ("x³ + x¹⁰", "x^3 + x^10"),
        ("m̂/(√ŵ + ε₁)", "mhat/(sqrt what + eps1)"),
        ("1 ≤ x ≠ y", "1 <= x != y"),
    ],
)
def test_one_expression_in_both_spellings(symbols: str, plain: str) -> None:
    file = "theorem A\nz = {}\n"
    assert format_text(file.format(symbols), "ascii") == file.format(plain)
    assert format_text(file.format(plain), "unicode") == file.format(symbols.replace("ε₁", "ε1"))
    assert tree(file.format(symbols)) == tree(file.format(plain))


@pytest.mark.parametrize(
    ("line", "spelling"),
    [
        ("hyper ρ as rho > 0 = 0.5", "unicode"),  # a Python argument keeps its name, a value its decimals
        ("use huber_delta", "unicode"),  # and so does a file
        ("z = norm(x, over=rows) + norm(y for y in S)", "unicode"),
        ("z = 2^3(x)", "unicode"),
        ("z = ∇f(x) · ⟨x, y⟩ − x ∈ S", "keep"),
    ],
)
def test_what_has_no_other_form_stays(line: str, spelling: Any) -> None:
    expected = line.replace(" · ", "·")
    assert format_text(f"rule A\n{line}\n", spelling) == f"rule A\n{expected}\n"


def test_own_names_are_not_taken_for_signs() -> None:
    own = "rule A\nhyper T > 0 = 1\nnorm(a) = a\ny = ‖x‖*norm(x)*Xᵀ\n"
    assert format_text(own, "ascii") == own
    assert format_text(own, "unicode") == own


def test_dot_is_the_ascii_of_angle_brackets() -> None:
    assert format_text("theorem A\nz = ⟨x, √y⟩²\n", "ascii") == "theorem A\nz = dot(x, sqrt y)^2\n"


def test_the_order_of_a_norm_has_one_tree() -> None:
    """Compared as the parser gives it, since later passes tell the order of a norm from the index of a family."""
    symbols, plain = "theorem A\nz = ‖x‖[1]\n", "theorem A\nz = norm(x)[1]\n"
    assert parse(Source("", symbols)) == parse(Source("", plain))
    assert parse(Source("", "theorem A\nz = norm(x, over=a)[1]\n")) != parse(Source("", plain))


def test_broken_text_is_refused_as_by_the_parser() -> None:
    with pytest.raises(OptError):
        format_text("rule A\nx = (1 + \n")
