"""Whatever the file holds, the answer is a diagnostic: no traceback, no hang, after little work."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dotopt
from dotopt.compiler.parse import parse
from dotopt.compiler.resolve import Symbols, resolve
from dotopt.compiler.text.errors import Diagnostic, OptError
from dotopt.compiler.text.read import LARGEST, read
from dotopt.compiler.text.render import apply, render_all, to_json
from dotopt.compiler.text.source import Source

ROOT = Path(__file__).resolve().parents[1]
CORPUS = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests" / "worked").glob("*.opt"))]
HEAD = "rule A\nobjective f\nparam x : real[...]\n"
MOST_CALLS = 10_000_000  # of functions: what an answer may take; no clock, so that a slow machine gives the same result


def front(source: Source) -> Symbols:
    return resolve(parse(source))


class TooMuchWork(BaseException):
    """More calls than an answer may take."""


@contextmanager
def counted(most: int) -> Iterator[None]:
    """Raises `TooMuchWork` in the body after so many calls of functions."""
    left = most

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal left
        left -= event.endswith("call")
        if left < 0:
            raise TooMuchWork(most)

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)


def codes(make: Callable[[], object]) -> list[str]:
    """The codes of the error that `make` must end with, in time; every diagnostic can also be printed."""
    with pytest.raises(OptError) as caught, counted(MOST_CALLS):
        make()
    assert render_all(caught.value.diagnostics)
    assert all(to_json(found) for found in caught.value.diagnostics)
    return [found.code for found in caught.value.diagnostics]


def text_codes(text: str) -> list[str]:
    return codes(lambda: front(Source("a.opt", text)))


# ---- files ----------------------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    assert codes(lambda: read(tmp_path / "absent.opt")) == ["E901"]
    assert codes(lambda: read(tmp_path / "absent" / "absent.opt")) == ["E901"]


def test_directory(tmp_path: Path) -> None:
    assert codes(lambda: read(tmp_path)) == ["E902"]


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfer\x00u\x00l\x00e\x00", "rule A  # d\u00e9".encode("latin-1"), bytes(range(128, 256)), b"\xed\xa0\x80"],
    ids=["utf-16", "latin-1", "bytes", "surrogate"],
)
def test_wrong_encoding(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.opt"
    path.write_bytes(data)
    assert codes(lambda: read(path)) == ["E903"]


def test_ten_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "a.opt"
    path.write_bytes(b"rule A\n" + b"# comment\n" * 1_000_000)
    assert codes(lambda: read(path)) == ["E904"]


def test_the_largest_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.opt"
    path.write_bytes(b"rule A\n".ljust(LARGEST, b"#"))
    assert len(read(path).text) == LARGEST
    path.write_bytes(b"rule A\n".ljust(LARGEST + 1, b"#"))
    assert codes(lambda: read(path)) == ["E904"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_no_right_to_read(tmp_path: Path) -> None:
    path = tmp_path / "a.opt"
    path.write_text("rule A\n")
    path.chmod(0)
    assert codes(lambda: read(path)) == ["E905"]


def test_a_path_that_the_system_refuses() -> None:
    assert codes(lambda: read("a" * 10_000 + ".opt")) == ["E905"]
    assert codes(lambda: read("a\0b.opt")) == ["E905"]


def test_nul_and_binary(tmp_path: Path) -> None:
    path = tmp_path / "a.opt"
    path.write_bytes(b"rule A\n\0\0\0")
    assert codes(lambda: read(path)) == ["E906"]
    path.write_bytes(random.Random(0).randbytes(100_000))
    assert codes(lambda: read(path))[0] in ("E903", "E906")


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.opt"
    text = HEAD + "option plain = true\nwhen plain:\n  d = ∇f(x)\notherwise:\n  d = 2*∇f(x)\n\nx' = x - d\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    unix = front(Source("a.opt", text))
    assert front(read(path)).file == unix.file


def test_check_answers_for_every_kind_of_file(tmp_path: Path) -> None:
    for data in (b"", b"\0", b"\xff", b"rule", HEAD.encode()):
        path = tmp_path / "a.opt"
        path.write_bytes(data)
        assert dotopt.check(path).errors, data


# ---- texts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\n", "   ", "# only a comment", '"""Only a docstring."""\n', "\r\n\r\n", "\t"])
def test_nothing_in_it(text: str) -> None:
    assert text_codes(text)[0] in ("E112", "E122")


DEEP = 10_000
NESTED = {
    "parentheses": HEAD + "x' = " + "(" * DEEP + "x" + ")" * DEEP,
    "open parentheses": HEAD + "x' = " + "(" * DEEP,
    "closing parentheses": HEAD + "x' = x" + ")" * DEEP,
    "brackets": HEAD + "x' = x" + "[" * DEEP + "1" + "]" * DEEP,
    "sets": HEAD + "x' = " + "{" * DEEP + "1" + "}" * DEEP,
    "norms": HEAD + "x' = " + "‖(" * DEEP + "x" + ")‖" * DEEP,
    "bars": HEAD + "x' = " + "|" * DEEP,
    "calls": HEAD + "x' = " + "exp(" * DEEP + "x" + ")" * DEEP,
    "minus": HEAD + "x' = " + "-" * DEEP + "x",
    "plus": HEAD + "x' = " + "+" * DEEP + "x",
    "not": HEAD + "x' = 1 if " + "not " * DEEP + "true else 2",
    "roots": HEAD + "x' = " + "√" * DEEP + "x",
    "powers": HEAD + "x' = " + "^".join(["x"] * DEEP),
    "conditions": HEAD + "x' = " + "x if true else " * DEEP + "x",
    "sum": HEAD + "x' = " + " + ".join(["x"] * DEEP),
    "product": HEAD + "x' = " + "*".join(["x"] * DEEP),
    "and": HEAD + "x' = 1 if " + " and ".join(["true"] * DEEP) + " else 2",
    "transposes": HEAD + "x' = x" + "ᵀ" * DEEP,
    "members": HEAD + "x' = x" + ".y" * DEEP,
    "indices": HEAD + "x' = x" + "[1]" * DEEP,
    "called again": HEAD + "x' = f" + "(x)" * DEEP,
    "primes": HEAD + "x" + "'" * DEEP + " = x",
    "blocks": HEAD + "".join(" " * i + "when true:\n" for i in range(1_000)) + " " * 1_000 + "y = 1\n",
    "docstring": '"""' + "a" * DEEP,
    "one long name": HEAD + "a" * DEEP + "' = x",
    "combining marks": HEAD + "a" + "\u0302" * DEEP + "' = x",
    "long number": HEAD + "x' = x - ∇f(x)*1e" + "9" * DEEP + "y",
    "many digits": HEAD + "x' = y*" + "9" * DEEP,
    "large number": HEAD + "x' = y*1e999999999",
    "small number": HEAD + "x' = y*1e-999999999",
    "large exponent": HEAD + "x' = y" + "⁹" * DEEP,
    "long lines": HEAD + "".join(f"y{i} = {' + '.join(['x'] * 199)}\n" for i in range(100)),
}


@pytest.mark.parametrize("name", NESTED)
def test_deep_and_long(name: str) -> None:
    text_codes(NESTED[name] + "\n")


UNITS = ["(", "-", "+", "not ", "√", "|", "^x", "+x", "*x", "ᵀ", "'", "[1]", "(x)", ".y", "if x else x "]


@pytest.mark.parametrize("unit", UNITS)
def test_deep_within_one_readable_line(unit: str) -> None:
    text_codes(HEAD + "x' = x " + unit * (3_900 // len(unit)) + "x\n")


def test_many_names_in_a_circle() -> None:
    lines = "".join(f"a{i} = a{i + 1}\n" for i in range(300)) + "a300 = a0\n"
    assert "E206" in text_codes(HEAD + lines + "x' = x - a0*∇f(x)\n")


def test_definitions_that_need_themselves() -> None:
    assert "E218" in text_codes(HEAD + "F(a) = F(a)\nx' = F(x) - ∇f(x)\n")
    assert "E206" in text_codes(HEAD + "F(a) = G(a)\nG(a) = F(a)\nx' = F(x) - ∇f(x)\n")
    assert "E206" in text_codes(HEAD + "a = a\nx' = x - a*∇f(x)\n")


def test_files_that_use_each_other(tmp_path: Path) -> None:
    (tmp_path / "one.opt").write_text("formula one(v : real[d]) = two(v)\nuse two\n")
    (tmp_path / "two.opt").write_text("formula two(v : real[d]) = one(v)\nuse one\n")
    (tmp_path / "self.opt").write_text("formula self(v : real[d]) = self(v)\nuse self\n")
    assert codes(lambda: front(read(tmp_path / "one.opt"))) == ["E214"]
    assert codes(lambda: front(read(tmp_path / "self.opt"))) == ["E214"]


STRANGE = ["\0", "\x1b", "\ud800", "\uffff", "\u202e", "\x7f", "\u2028", "\r", "\f\v", "😀", "\u200b"]


@pytest.mark.parametrize("character", STRANGE)
def test_strange_characters(character: str) -> None:
    text_codes(HEAD + f"x' = x {character} y\n")
    text_codes(character + HEAD)


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\x9b", "\x7f", "\r", "\u202e", "\u2066", "\u200f", "\u061c"])
def test_what_is_not_seen_may_stand_nowhere(character: str) -> None:
    """A terminal would obey it, or show another text than the one that is compiled."""
    for text in (f'"""A{character}B"""\n{HEAD}', f"{HEAD}# a{character}b\n", HEAD + f'source "a{character}b"\n'):
        assert text_codes(text + "x' = x - ∇f(x)\n") == ["E139"]


def test_a_path_is_printed_without_what_a_terminal_obeys(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b]0;b\x07\u202e.opt"
    path.write_text(HEAD + "x' = x y\n", encoding="utf-8")
    with pytest.raises(OptError) as caught:
        front(read(path))
    coloured = render_all(caught.value.diagnostics, color=True)
    assert "a\ufffd]0;b\ufffd\ufffd.opt" in coloured and "\x1b]" not in coloured
    with pytest.raises(OptError) as caught:
        read(tmp_path / "absent\x1b]0;b.opt")
    assert "\x1b]" not in render_all(caught.value.diagnostics, color=True)


def test_a_message_is_one_line_even_if_the_text_is_not_printable() -> None:
    with pytest.raises(OptError) as caught:
        front(Source("a.opt", HEAD + "x' = x \x1b[31m y\n"))
    assert "\x1b" not in render_all(caught.value.diagnostics)


# ---- random changes -------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    ["'", "(", ")", "[", "]", "{", "}", "=", "==", ":", ",", ";", " ", "\n", "\n  ", "if", "else", "for", "every", "@",
     "^", "²", "∇", "√", "‖", "|", "<-", "0", "1e", ".", "..", "_", "~", "t", "m", "use", "claim", "state", '"', '"""',
     "#", "\t", "é", "中", "\u0302", "😀", "[t-1]", " over last 3", "first "]
)  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """A file of the corpus with a few pieces cut out, repeated, moved or put in."""
    text = draw(st.sampled_from(CORPUS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(start + draw(st.integers(0, 12)), len(text))
        match draw(st.integers(0, 3)):
            case 0:
                text = text[:start] + text[end:]
            case 1:
                text = text[:start] + draw(PIECES) + text[start:]
            case 2:
                text = text[:start] + text[start:end] + text[start:]
            case _:
                place = draw(st.integers(0, len(text)))
                text = text[:place] + text[start:end] + text[place:]
    return text


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(mutations())
def test_changed_files_are_read_or_refused(text: str) -> None:
    try:
        front(Source("a.opt", text))
    except OptError as error:
        assert render_all(error.diagnostics)
        assert all(to_json(found) for found in error.diagnostics)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(mutations())
def test_edits_for_changed_files_repair(text: str) -> None:
    """An edit that is offered anywhere removes the diagnostic that offers it."""
    for found in answers(text):
        if found.edit is not None and found.span is not None:
            near = {
                (other.code, other.message)
                for other in answers(apply([found.edit], text))
                if other.span is not None and abs(other.span.start - found.span.start) <= len(found.edit.text) + 3
            }
            assert (found.code, found.message) not in near, apply([found.edit], text)


def answers(text: str) -> tuple[Diagnostic, ...]:
    try:
        return front(Source("a.opt", text)).warnings
    except OptError as error:
        return error.diagnostics


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=200))
def test_any_text_is_refused(text: str) -> None:
    for start in ("", HEAD):
        try:
            front(Source("a.opt", start + text))
        except OptError as error:
            assert render_all(error.diagnostics)
