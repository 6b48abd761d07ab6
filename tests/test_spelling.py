"""Names: one identity and one Python identifier for all spellings; the table against Unicode's own names."""

from __future__ import annotations

import keyword
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dotopt.compiler.parse import parse
from dotopt.compiler.text.source import Source
from dotopt.grammar import highlight, spelling, tables
from dotopt.grammar.spelling import ascii, canonical, latex, unicode, width

ROOT = Path(__file__).resolve().parent.parent
NAME = re.compile(next(t.pattern.value for t in tables.parser().terminals if t.name == "NAME"))
WORDS = [letter.ascii for letter in spelling.LETTERS] + [accent.ascii for accent in spelling.ACCENTS]
LETTERS = "".join(letter.symbol for letter in spelling.LETTERS)
ACCENTS = "".join(accent.symbol for accent in spelling.ACCENTS)

symbolic = st.text(LETTERS + ACCENTS + "abmxT019_₀₁ₘéℓ中ß\u0301ΒϵŷK", min_size=1, max_size=8)
PARTS = [*WORDS, "lambda", "x", "m", "w", "max", "uni", "c3a9", "1", "23", "_", "class"]
spelled = st.lists(st.sampled_from(PARTS)).map("".join)
names = (symbolic | spelled).filter(lambda name: NAME.fullmatch(name) is not None)


@given(names)
@example("θ1̂")
@example("β_中")
@example("unice92")
@example("class_")
def test_a_name_and_its_identifier_determine_each_other(name: str) -> None:
    identity, identifier = canonical(name), ascii(name)
    assert canonical(identity) == identity
    assert canonical(identifier) == identity
    assert ascii(identity) == identifier == ascii(identifier)
    assert identifier.isascii() and identifier.isidentifier() and not keyword.iskeyword(identifier)
    assert NAME.fullmatch(identity) and NAME.fullmatch(unicode(name))


@given(names, names)
def test_different_names_have_different_identifiers(one: str, other: str) -> None:
    assert (ascii(one) == ascii(other)) == (canonical(one) == canonical(other))


@given(spelled | st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,12}", fullmatch=True))
def test_python_identifiers_keep_their_spelling(name: str) -> None:
    assume(name.isidentifier() and name[0] != "_" and not keyword.iskeyword(name) and "lambda" not in name)
    assert ascii(name) == name


@pytest.mark.parametrize(
    ("spellings", "identity", "identifier"),
    [
        (("beta1", "β1", "β₁"), "β1", "beta1"),
        (("eps", "ε", "ϵ"), "ε", "eps"),
        (("lam", "lambda", "λ"), "λ", "lam"),
        (("mhat", "m̂"), "m̂", "mhat"),
        (("thetahat", "θ̂"), "θ̂", "thetahat"),
        (("sbar", "s̄", "s\u0305"), "s̄", "sbar"),
        (("xtilde", "x̃"), "x̃", "xtilde"),
        (("xddot", "ẍ"), "ẍ", "xddot"),
        (("yhat", "ŷ", "y\u0302"), "ŷ", "yhat"),
        (("beta_m", "βm", "β_m", "βₘ"), "βm", "beta_m"),
        (("beta2_decay", "β2_decay"), "β2_decay", "beta2_decay"),
        (("x_pi", "x_π", "xπ"), "x_π", "x_pi"),
        (("mu", "μ", "\N{MICRO SIGN}"), "μ", "mu"),
        (("ell", "ℓ"), "ℓ", "ell"),
        (("l",), "l", "l"),
        (("deltas",), "deltas", "deltas"),
        (("meta",), "meta", "meta"),
        (("theta1hat",), "theta1hat", "theta1hat"),
        (("Beta",), "Beta", "Beta"),
        (("hat",), "hat", "hat"),
        (("class", "class_"), "class", "class_"),
    ],
)
def test_spellings_of_one_name(spellings: tuple[str, ...], identity: str, identifier: str) -> None:
    assert {canonical(name) for name in spellings} == {unicodedata.normalize("NFC", identity)}
    assert {ascii(name) for name in spellings} == {identifier}


def test_the_table_is_injective() -> None:
    for table in (spelling.LETTERS, spelling.ACCENTS):
        assert len({entry.symbol for entry in table}) == len({entry.ascii for entry in table}) == len(table)
    written = [operator for operator in spelling.OPERATORS if operator.written]
    assert len({operator.ascii for operator in written}) == len(written)


def test_words_are_those_of_unicode() -> None:
    for letter in spelling.LETTERS:
        name = unicodedata.name(letter.symbol)
        word = {"eps": "epsilon", "lam": "lamda", "Lambda": "Lamda", "ell": "l"}.get(letter.ascii, letter.ascii)
        assert name.split()[-1].lower() == word.lower(), name
        assert ("CAPITAL" in name) == word[0].isupper()
    named = {"hat": "CIRCUMFLEX ACCENT", "bar": "MACRON", "check": "CARON", "dot": "DOT ABOVE", "ddot": "DIAERESIS"}
    for accent in spelling.ACCENTS:
        assert unicodedata.name(accent.symbol) == f"COMBINING {named.get(accent.ascii, accent.ascii.upper())}"


def test_latex_is_understood_by_matplotlib() -> None:
    mathtext = pytest.importorskip("matplotlib.mathtext").MathTextParser("path")
    for letter in spelling.LETTERS:
        for shape in ("{}", "{}1", "{}\u0302", "{}m", "x{}"):
            mathtext.parse(f"${latex(shape.format(letter.symbol))}$")
    for operator in spelling.OPERATORS:
        if operator.symbol not in "√½ᵀ":  # these need an operand
            mathtext.parse(f"$x {operator.latex} y$")
    assert latex("weight_decay") == r"\mathrm{weight\_decay}"
    assert latex("m̂") == r"\hat{m}"


@given(st.text(LETTERS + ACCENTS + "abc ·≤½‖中文ｘ"))
def test_width_is_what_rich_draws(text: str) -> None:
    cell_len = pytest.importorskip("rich.cells").cell_len
    assert width(text) == cell_len(text)


def test_every_operator_is_two_spellings_of_one_thing() -> None:
    shapes = {"√": "{} a", "∇": "{} f(a)", "∞": "{}", "ᵀ": "a{}", "½": "{}", "′": "a{}"}
    for operator in spelling.OPERATORS:
        shape = "theorem A\nz = {}\n".format(shapes.get(operator.symbol, "a {} b"))
        if operator.symbol == "→":
            shape = "theorem A\nclaim c:\n  show x invariant under f {} g\n"
        symbol, plain = (parse(Source("", shape.format(form))) for form in (operator.symbol, operator.ascii))
        assert symbol == plain, operator


def test_keywords_come_from_the_grammar() -> None:
    words = highlight.keywords()
    assert {"rule", "claim", "when", "param", "hyper", "real", "sqrt", "and", "true", "otherwise"} <= set(words)
    assert all(words.values())
    assert all(f'"{word}"' in tables.text() for word in words)


def test_pygments_reads_every_file() -> None:
    pygments = pytest.importorskip("pygments")
    from pygments.token import Error, Keyword, Name

    lexer = highlight.OptLexer()
    for path in [*ROOT.glob("tests/worked/*.opt"), *ROOT.glob("stdlib/**/*.opt")]:
        text = path.read_text(encoding="utf-8")
        tokens = list(pygments.lex(text, lexer))
        assert "".join(value for _, value in tokens) == text
        assert not [value for kind, value in tokens if kind is Error]
    text = "rule A\noption output = true\nm̂ = unit(output)\n"
    kinds = [(value.strip(), kind) for kind, value in pygments.lex(text, lexer)]
    assert ("option", Keyword.Declaration) in kinds
    assert [kind for value, kind in kinds if value == "output"] == [Name, Name]
    assert ("m̂", Name) in kinds and ("unit", Name.Function) in kinds


def test_textmate_patterns_compile_and_cover() -> None:
    textmate = highlight.textmate()
    assert textmate["fileTypes"] == ["opt"]
    for pattern in textmate["patterns"]:
        re.compile(pattern.get("match", pattern.get("begin")))
    openers = next(p["match"] for p in textmate["patterns"] if p["name"] == "keyword.declaration.opt")
    assert re.match(openers, "hyper η as lr > 0") and re.match(openers, "  show a == b")
    assert not re.match(openers, "output = 3") and not re.match(openers, "base' = 3")
