"""What was meant: a syntax error of the parser, explained by the tokens around it.

`EXPLANATIONS` is a table of common mistakes, the most specific first; each looks at the place where the parser stopped
and returns a diagnostic or passes on. An edit is offered only if the parser gets further with it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from difflib import get_close_matches

import lark

from dotopt.compiler.parse.foreign import COMMANDS, MEANT, REPLACED
from dotopt.compiler.parse.stop import WORDS, Stop, keywords, listed, stop_at, wrong_dedent
from dotopt.compiler.text.errors import Edit, Label, OptError, fail
from dotopt.compiler.text.source import Source, Span
from dotopt.grammar.spelling import unicode

HEADS = {"RULE", "FORMULA", "TRANSFORM", "THEOREM"}
OPENERS = {"(": ")", "[": "]", "{": "}"}
STARTS_VALUE = {"NAME", "NUMBER", "HALF", "GRAD", "SQRT", "INFINITY", "TRUE", "FALSE", "√", "∇", "⟨", "‖"}
DECLARE = [
    "param", "objective", "operator", "function", "input", "output", "hyper", "option", "const", "state", "base",
    "eval", "use", "source", "send", "broadcast", "claim", "when", "iterate", "role", "given", "where", "otherwise",
]  # fmt: skip
CLAIM_WORDS = {"show", "refute", "derive", "flow", "by"}
NEEDLESS = {"let", "set", "def", "define", "return", "auto", "val"}


def explain(source: Source, error: lark.UnexpectedInput | lark.indenter.DedentError) -> OptError:
    """The diagnostic for what stopped the parser."""
    if not isinstance(error, lark.UnexpectedInput):
        return fail("E108", wrong_dedent(source))
    stop = stop_at(source, error)
    for explanation in EXPLANATIONS:
        found = explanation(stop)
        if found is not None:
            return found
    return _cannot_stand(stop)


# ---- the table ------------------------------------------------------------------------------------------------


def _head(stop: Stop) -> OptError | None:
    if not stop.expected & HEADS:
        return None
    if stop.rest.startswith("'''"):
        end = stop.source.text.find("'''", stop.start + 3)
        edit = None
        if end > 0:
            whole = Span(stop.source, stop.start, end + 3)
            edit = Edit(whole, f'"""{stop.source.text[stop.start + 3 : end]}"""')
        return stop.fails("E129", Span(stop.source, stop.start, stop.start + 3), edit)
    if stop.rest.startswith('"""'):
        return None
    word = re.match(r"[a-z]+(?=[ \t]+\w+[ \t]*($|\n|#|\())", stop.rest)
    meant = word and _closest(word.group(), ["rule", "formula", "transform", "theorem"])
    if word and meant:
        place = Span(stop.source, stop.start, stop.start + word.end())
        return stop.fails("E109", place, Edit(place, meant), word=word.group(), suggestion=meant)
    return fail("E112", Span(stop.source, stop.start, stop.start + (1 if stop.kind != "$END" else 0)))


def _character(stop: Stop) -> OptError | None:
    if stop.kind != "character":
        return None
    character = stop.token
    command = re.match(r"\\[A-Za-z]+", stop.rest)
    if command:
        word = command.group()[1:]
        replacement = COMMANDS.get(word) or unicode(word)
        spelled = f"{replacement}` or `{word}" if replacement != word and replacement.isalnum() else replacement
        place = Span(stop.source, stop.start, stop.start + command.end())
        return stop.fails("E110", place, Edit(place, replacement), command=command.group(), replacement=spelled)
    if character in "←⟵" or stop.rest.startswith(("≔",)):
        return _assignment(stop, 1)
    if character == '"':
        return _quotation(stop)
    if character == "%" and re.match(r"%+\s", stop.rest):
        return stop.fails("E125", stop.span, Edit(stop.span, "#"))
    name = unicodedata.name(character, "") if character else ""
    shown = f"`{character}`" if character.isprintable() and character != "`" else f"U+{ord(character):04X}"
    described = f"{shown} ({name})" if name and (not character.isascii() or not character.isprintable()) else shown
    replacement = REPLACED.get(character, "")
    doubled = 2 if character in "&!" and stop.rest[:2] == character * 2 else 1
    place = Span(stop.source, stop.start, stop.start + doubled)
    spaced = replacement in ("not", "and", "or") and stop.rest[doubled : doubled + 1] != " "
    text = f"{replacement} " if spaced else replacement
    edit = Edit(place, text) if replacement else None
    help = f"write `{replacement}`" if replacement.strip() else "write a plain space" if replacement else None
    help = "for a choice write `a if c else b`" if character == "?" else help
    if stop.source.text[: stop.start].endswith(("‖", "||")) and character in "₁₂₃₄₅₆₇₈₉₀_∞":
        help = "other orders than 2 stand in brackets: `‖x‖[1]`, `‖x‖[∞]`, `‖x‖[1.5]`"
    return stop.fails("E114", place, edit, character=described, help=help)


def _quotation(stop: Stop) -> OptError:
    if stop.rest.startswith('"""'):
        return fail("E115", Span(stop.source, stop.start, stop.start + 3), what="the docstring", help='add `"""`')
    end = stop.source.text.find("\n", stop.start)
    end = len(stop.source.text) if end < 0 else end
    end = stop.start + len(stop.source.text[stop.start : end].rstrip())
    return stop.fails("E131", None, Edit(Span(stop.source, end, end), '"'), closer='"')


def _brackets(stop: Stop) -> OptError | None:
    opened, extra = _open_brackets(stop.source.text, stop.start)
    if stop.token in (")", "]", "}") and not opened and extra is None:
        return stop.fails("E118", stop.span, Edit(stop.span, ""))
    if opened and stop.token in (")", "]", "}") and stop.token != OPENERS[stop.source.text[opened[-1]]]:
        labels = (Label(Span(stop.source, opened[-1], opened[-1] + 1), "this one is open"),)
        help = "remove it, or open one of its kind"
        return stop.fails("E118", stop.span, Edit(stop.span, ""), labels=labels, help=help)
    at_line_start = not stop.line.strip() and "\n" in stop.source.text[opened[-1] : stop.start] if opened else False
    if opened and (at_line_start or stop.kind == "$END"):
        return _never_closed(stop, opened[-1], OPENERS[stop.source.text[opened[-1]]])
    for kind, bar in (("VBAR", "|"), ("‖", "‖")):
        if kind in stop.expected and stop.kind == "_NL" and bar in stop.line and len(stop.expected) < 45:
            return _never_closed(stop, stop.span.start - len(stop.line) + stop.line.rindex(bar), bar)
    if "⟩" in stop.expected and stop.kind == "_NL" and "⟨" in stop.line:
        return _never_closed(stop, stop.span.start - len(stop.line) + stop.line.rindex("⟨"), "⟩")
    if opened and stop.kind == "_NL" and stop.source.text[opened[-1]] == "{":  # sets stay on one line
        return _never_closed(stop, opened[-1], "}")
    return None


def _open_brackets(text: str, end: int) -> tuple[list[int], int | None]:
    """The brackets open at `end`, and the first closing one that closes nothing; `[0, 1)` is closed."""
    opened: list[int] = []
    extra = None
    for match in re.finditer(r'"""(?:.|\n)*?"""|"[^"\n]*"|#[^\n]*|[()\[\]{}]', text[:end]):
        sign = match.group()
        if sign in OPENERS:
            opened.append(match.start())
        elif sign in OPENERS.values():
            if opened:
                opened.pop()
            elif extra is None:
                extra = match.start()
    return opened, extra


def _never_closed(stop: Stop, offset: int, closer: str) -> OptError:
    line = stop.source.line_of(offset)
    start = stop.source.line_starts[line - 1]
    code = re.sub(r"#[^\n]*$", "", stop.source.line(line)).rstrip()
    opens_block = code.endswith(":")
    end = start + len(code) - opens_block
    edit = Edit(Span(stop.source, end, end), closer)
    return stop.fails("E103", Span(stop.source, offset, offset + 1), edit, closer=closer)


def _assigned(stop: Stop) -> OptError | None:
    if stop.rest.startswith("<-") and "=" not in stop.line:
        return _assignment(stop, 2)
    if stop.token == "=" and stop.before == ":" and stop.line.endswith(":"):
        return _assignment(stop, 1, 1)
    return None


def _assignment(stop: Stop, length: int, before: int = 0) -> OptError:
    name = stop.line.rstrip(": ").strip()
    primed = name if name.endswith(("'", "′")) else f"{name}'"
    left = stop.line[: len(stop.line) - before]
    start = stop.start - before - (len(left) - len(left.rstrip()))
    mark = Span(stop.source, stop.start - before, stop.start + length)
    edit = Edit(Span(stop.source, start, stop.start + length), f"{'' if primed == name else chr(39)} =")
    return stop.fails("E104", mark, edit, name=primed.rstrip("'′"))


def _in_place(stop: Stop) -> OptError | None:
    found = re.match(r"([-+*/@^])=(?!=)", stop.rest)
    if not found or "=" in stop.line:
        return None
    name = stop.line.strip().rstrip("'′")
    span = Span(stop.source, stop.start, stop.start + 2)
    spaces = len(stop.line) - len(stop.line.rstrip())
    whole = Span(stop.source, stop.start - spaces, stop.start + 2)
    text = f"{'' if stop.line.rstrip().endswith(chr(39)) else chr(39)} = {name} {found.group(1)}"
    return stop.fails("E111", span, Edit(whole, text), operator=found.group(), name=name, plain=found.group(1))


def _equation(stop: Stop) -> OptError | None:
    if stop.token == "==" and "EQUAL" in stop.expected:
        return stop.fails("E102", stop.span, Edit(stop.span, "="), left=stop.line.strip())
    if stop.token != "=" or "EQUAL" in stop.expected:
        return None
    if stop.first_word in ("given", "show", "refute", "when", "by") or "=" in stop.line or " if " in stop.line:
        return stop.fails("E119", stop.span, Edit(stop.span, "=="))
    return None


def _operator(stop: Stop) -> OptError | None:
    if stop.before == "grad" and stop.token == "(":
        found = re.match(r"\(\s*(\w[\w']*)\s*\)", stop.rest)
        if found:
            place = Span(stop.source, stop.before_span.start, stop.start + found.end())
            right = f"grad {found.group(1)}"
            shown = f"{right}(…)` or `∇{found.group(1)}(…)"
            return stop.fails("E105", place, Edit(place, right), right=shown)
    if stop.token == "*" and stop.line.endswith("*"):
        place = Span(stop.source, stop.start - 1, stop.start + 1)
        return stop.fails("E107", place, Edit(place, "^"))
    if stop.token == "/" and stop.line.endswith("/"):
        place = Span(stop.source, stop.start - 1, stop.start + 1)
        return stop.fails("E125", place, Edit(place, "#"))
    if stop.before == "lambda":
        return stop.fails("E134", stop.before_span)
    if stop.token == "." and re.match(r"\.\d", stop.rest):
        return stop.fails("E130", None, Edit(Span(stop.source, stop.start, stop.start), "0"), missing="0")
    if stop.token == "<" and "NAME" in stop.expected and (inner := re.match(r"<([^<>=\n]*,[^<>=\n]*)>", stop.rest)):
        place = Span(stop.source, stop.start, stop.start + inner.end())
        return stop.fails("E136", place, Edit(place, f"⟨{inner.group(1)}⟩"))
    if stop.token == "{" and stop.line.endswith("_") and (inner := re.match(r"\{([^{}\n]*)\}", stop.rest)):
        name = stop.before.rstrip("_")
        place = Span(stop.source, stop.start - len(stop.before), stop.start + inner.end())
        right = f"{name}[{inner.group(1)}]"
        return stop.fails("E110", place, Edit(place, right), command=place.text, replacement=right)
    return None


def _conditional(stop: Stop) -> OptError | None:
    found = re.search(r"\bif\s+$", stop.line)
    if found and stop.before == "if" and stop.line.rstrip("if ").rstrip().endswith(("=", "(", "*", "+", "-", "/", ",")):
        whole = re.match(r"(.+?)(?:\s+then\s+|\s*:\s*|\s+)(\S+)\s+else\s+(\S[^#\n]*?)\s*(?=#|\n|$)", stop.rest)
        words = {"condition": "c", "then": "a", "otherwise": "b"}
        edit = None
        start = stop.start - len(found.group())
        if whole:
            words = dict(zip(("condition", "then", "otherwise"), whole.groups(), strict=True))
            place = Span(stop.source, start, stop.start + whole.end())
            edit = Edit(place, f"{words['then']} if {words['condition']} else {words['otherwise']}")
        return stop.fails("E124", Span(stop.source, start, start + 2), edit, **words)
    if stop.kind in ("_NL", "RPAR") and "ELSE" in stop.expected:
        at = stop.line.rfind(" if ")
        value = stop.line[:at].split("=")[-1].strip() or "…"
        place = stop.span if stop.kind == "_NL" else Span(stop.source, stop.start, stop.start)
        edit = Edit(place, " else 0")
        mark = stop.span.start - len(stop.line) + at + 1 if at >= 0 else stop.span.start
        return stop.fails("E128", Span(stop.source, mark, mark + 2), edit, value=value)
    return None


def _word(stop: Stop) -> OptError | None:
    """A line that starts with a word which is none of the language."""
    before = stop.line.strip()
    if stop.expected == {"_INDENT"}:
        return None
    if not before and stop.token in CLAIM_WORDS:
        return stop.fails("E132", stop.span, word=stop.token)
    if not before and stop.kind in HEADS:
        return stop.fails("E133", stop.span)
    if before in CLAIM_WORDS and stop.token not in ("=", "'", "~", "("):
        return stop.fails("E132", stop.before_span, word=before)
    if before.upper() in HEADS and stop.kind == "NAME":
        return stop.fails("E133", stop.before_span)
    if before == "for" and stop.kind == "NAME":
        return stop.fails("E109", stop.before_span, word=before, suggestion="iterate")
    if re.fullmatch(r"\w+", before) and before in keywords() and stop.token in ("=", "'", "~", "(", "[", "==", ":"):
        return stop.fails("E123", stop.before_span, word=before)
    if not {"TILDE", "EQUAL"} <= stop.expected or not re.fullmatch(r"[A-Za-z]{2,}", before):
        return None
    if stop.kind not in ("NAME", "STRING", "COLON") and stop.kind.lower() not in keywords():
        return None
    place = stop.before_span
    meant = _closest(before.lower(), DECLARE)
    if before in NEEDLESS and (not meant or re.match(r"[^\n#]*=", stop.rest)):
        edit = Edit(Span(stop.source, place.start, stop.start), "")
        return stop.fails("E109", place, edit, word=before, suggestion="", help="an equation needs no word before it")
    if meant:
        return stop.fails("E109", place, Edit(place, meant), word=before, suggestion=meant)
    known = ", ".join(f"`{word}`" for word in DECLARE[:11])
    return stop.fails("E109", place, word=before, suggestion="", help=f"declarations start with {known}")


def _block(stop: Stop) -> OptError | None:
    if stop.kind == "_INDENT":
        text = stop.source.text
        begin = text.rfind("\n", 0, stop.start + len(stop.token)) + 1
        line = text[begin : text.find("\n", begin) if "\n" in text[begin:] else len(text)]
        indent = len(line) - len(line.lstrip())
        place = Span(stop.source, begin, begin + max(indent, 1))
        return stop.fails("E122", Span(stop.source, begin + indent, begin + indent + 1), Edit(place, ""))
    if stop.expected == {"_INDENT"}:
        number = stop.source.line_of(len(stop.source.text[: stop.start].rstrip()))
        line = stop.source.line(number).split("#")[0].rstrip()
        start = stop.source.line_starts[number - 1]
        return stop.fails("E121", Span(stop.source, start, start + len(line)), line=line.strip())
    if stop.kind == "_NL" and "COLON" in stop.expected:
        if stop.first_word == "param":
            name = stop.line.split()[1] if len(stop.line.split()) > 1 else "x"
            return stop.fails("E127", None, Edit(stop.span, " : real[...]"), word="param", name=name)
        if stop.first_word in ("claim", "when", "otherwise", "iterate", "role"):
            return stop.fails("E106", None, Edit(stop.span, ":"))
    return None


def _factors(stop: Stop) -> OptError | None:
    """Two operands side by side."""
    if stop.kind not in STARTS_VALUE or not stop.expected & {"TIMES", "PLUS", "CIRCUMFLEX"}:
        return None
    if stop.kind == "NUMBER" and re.fullmatch(r"[\d.]+", stop.before):
        return None  # `> 0 0.1`: not a product
    if not re.search(r"[\w\)\]'′²³½ᵀ‖∞]$", stop.line.rstrip()) or stop.before in ("if", "then", "else", "lambda"):
        return None
    left = _operand_before(stop.line.rstrip())
    right = re.match(r"(?:[√∇]\s*)?[\w\u0300-\u036f.]+['′]?(?:\[[^\]\n]*\]|\([^)\n]*\))?", stop.rest)
    shown = right.group() if right else stop.token
    end = stop.before_span.end
    edit = Edit(Span(stop.source, end, stop.start), "*")
    labels = (Label(Span(stop.source, end - len(left), end), ""),)
    place = Span(stop.source, stop.start, stop.start + len(shown))
    return stop.fails("E101", place, edit, left=left, right=shown, labels=labels)


def _operand_before(line: str) -> str:
    """The operand at the end of the line: a name or number with its primes, or a group in brackets."""
    if line[-1] in ")]":
        depth = 0
        for offset in range(len(line) - 1, -1, -1):
            depth += (line[offset] in ")]") - (line[offset] in "([")
            if depth == 0:
                name = re.search(r"[\w\u0300-\u036f]*['′]?$", line[:offset])
                return (name.group() if name else "") + line[offset:]
    found = re.search(r"[\w\u0300-\u036f.]+['′²³ᵀ]*$", line)
    return found.group() if found else line[-1]


def _too_early(stop: Stop) -> OptError | None:
    if stop.kind == "$END":
        last = stop.source.text.rstrip().rsplit("\n", 1)[-1].strip()
        return fail("E115", stop.span, what=f"`{last[:60]}`" if last else "a sentence")
    if stop.kind in ("_NL", "_DEDENT"):
        return fail("E120", stop.span, expected=listed(stop.expected))
    return None


def _missing(stop: Stop) -> OptError | None:
    """One sign whose insertion lets the parser go on past this line."""
    if stop.first_word.upper() in HEADS:
        return None
    behind = stop.before_span.end if stop.before else stop.start
    for kind, sign in (("EQUAL", "="), ("COLON", ":"), ("COMMA", ","), ("RPAR", ")"), ("RSQB", "]"), ("RBRACE", "}")):
        if kind in stop.expected:
            clings = sign not in "=:"
            place = behind if clings else stop.start
            edit = Edit(Span(stop.source, place, place), sign if clings else f"{sign} ")
            if stop.repairs(edit):
                return fail("E130", stop.span, missing=sign, edit=edit)
    return None


def _needless(stop: Stop) -> OptError | None:
    """One sign without which the parser goes on past this line."""
    if stop.token in (";", ",", ":", ".", stop.before):
        edit = Edit(stop.span, "")
        if stop.repairs(edit):
            return fail("E135", stop.span, sign=stop.token, edit=edit)
    return None


def _cannot_stand(stop: Stop) -> OptError:
    found = WORDS.get(stop.kind) if stop.kind in ("_NL", "$END", "_INDENT", "_DEDENT") else f"`{stop.token}`"
    help = f"here may stand {listed(stop.expected)}" if stop.expected else None
    return fail("E100", stop.span, found=found, help=help)


EXPLANATIONS: tuple[Callable[[Stop], OptError | None], ...] = (
    _head, _character, _brackets, _assigned, _in_place, _equation, _operator, _conditional, _word, _block, _factors,
    _too_early, _missing, _needless,
)  # fmt: skip


def _closest(word: str, words: list[str]) -> str | None:
    meant = MEANT.get(word)
    if meant in words:
        return meant
    found = get_close_matches(word, words, 1, 0.6)
    return found[0] if found else None
