"""Rules on lists as Python functions: the choice of the next token, from its probabilities and the tokens so far.

    choose(p, x, hyper) -> the next token

The rule has one vector as input, one list as state that grows by the output, and starts with a list that is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dotopt.compiler.emit.names import PYTHON, Names
from dotopt.compiler.emit.parts import documented, equation_lines, header, hyper_text
from dotopt.compiler.emit.sequence.token import INDENT
from dotopt.compiler.ir import Fold, Node, Program, State
from dotopt.compiler.ir.print import infix
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.ops import signs
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import fail
from dotopt.compiler.text.library import Library
from dotopt.grammar.spelling import ascii

WORDS = ("occurs", "suffix", "top")  # functions of `runtime/decoding.py`


def module(file: s.File, library: Library, origin: tuple[object, ...] | None = None) -> str:
    """The text of the module of a rule that chooses tokens; raises `OptError` if it does anything else."""
    program = lower(file, Static(), library)
    code = _choose(program, _tokens(program))
    words = [word for word in WORDS if f"{word}(" in code]
    lines = [
        header(file, program), "", *(["import math", ""] if "math." in code else []),
        f"from dotopt.runtime.decoding import {', '.join(sorted(('Decoder', 'DecodingRule', *words), key=str.lower))}",
        *(["from dotopt.runtime.rule import Hyper"] if program.hypers else []), "", f"__all__ = [{program.name!r}]", "",
        "", code, "", "",
        f"class {program.name}(Decoder):",
        f"    {documented(program)}",
        "",
        f"    origin = {origin!r}",
        "    rule = DecodingRule(",
        f"        name={program.name!r},",
        f"        doc={(program.docstring or '')!r},",
        f"        source={(program.source or '')!r},",
        "        text=(",
        *(f"            {line!r}" for line in equation_lines(file, program)),
        "        ),",
        "        hypers=(",
        *(f"            {hyper_text(hyper, program)}," for hyper in program.hypers),
        "        ),",
        "        choose=choose,",
        "    )",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _tokens(program: Program) -> State:
    """The list of the tokens so far."""
    vectors = [x for x in program.inputs if len(x.type.axes) == 1]
    match program.states, list(program.outputs.values()):
        case (State(kind="first", start=Node(role="input")) as tokens,), [chosen]:
            grown = tokens.next
            appends = grown is not None and grown.op == "host" and grown.attrs.name == "append"
            if grown is not None and appends and grown.args[1] is chosen and len(vectors) == 1 and not program.options:
                return tokens
    raise fail("E601", program.decided_by, construct="a rule on lists that does not choose the next token of one")


def _choose(program: Program, tokens: State) -> str:
    vector = next(x.name for x in program.inputs if len(x.type.axes) == 1)
    (chosen,) = program.outputs.values()
    host = _Host([])
    arguments = (host.variables.new(vector), host.variables.new(tokens.name))
    lines = [f"def choose({', '.join(arguments)}, hyper):", f'{INDENT}"""The next token."""']
    given = {("input", vector): arguments[0], ("state", tokens.name): arguments[1]}
    for here in dict.fromkeys(x for x in chosen.walk() if x.op == "leaf"):
        if here.role == "hyper":
            host.names[here] = host.variables.new(here.name)
            lines.append(f'{INDENT}{host.names[here]} = hyper["{here.name}"]')
        elif (here.role, here.name) in given:
            host.names[here] = given[here.role, here.name]
    value = host.code(chosen)
    written = [f"{INDENT}# {line}" for e in program.equations if e.node is chosen and e.span is not None
               for line in e.span.text.strip().splitlines()]  # fmt: skip
    return "\n".join((*lines, *host.lines, *written, f"{INDENT}return {value}"))


Text = tuple[str, int]  # code, and how tightly its outermost operator binds
CHOICE, OR, AND, NOT, COMPARE, SUM, PRODUCT, UNARY, POWER, POSTFIX = range(10)


class _Host:
    """Writes nodes as Python on numbers and lists; what is chosen by its value has a function for the value."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.names: dict[Node, str] = {}
        self.variables = Names(PYTHON, WORDS, ("math", "hyper", "value"))

    def code(self, here: Node, least: int = CHOICE) -> str:
        """The text of `here`, in parentheses if its operator binds less tightly than `least`."""
        text, binding = self.text(here)
        return f"({text})" if binding < least else text

    def text(self, here: Node) -> Text:
        """The text of `here` and its binding."""
        if here in self.names:
            return self.names[here], POSTFIX
        writer = WRITERS.get(here.op)
        if writer is None:
            raise fail("E601", here.span, construct=f"`{infix(here)}` in a rule on lists")
        return writer(self, here)

    def fold(self, here: Node) -> Text:
        """A reduction over an index."""
        body: Fold = here.attrs.body
        if len(body.indices) != 1 or body.kind not in FOLDS:
            raise fail("E601", here.span, construct=f"`{infix(here)}` in a rule on lists")
        domain = self.code(here.args[0])
        index = self.names[body.indices[0]] = self.variables.of(body.indices[0], body.indices[0].name)
        if body.kind == "argmax":
            self._value(body.body, index)
            return f"max({domain}, key=value)", POSTFIX
        condition = f" if {self.code(body.condition, OR)}" if body.condition is not None else ""
        return FOLDS[body.kind].format(f"{self.code(body.body)} for {index} in {domain}{condition}"), POSTFIX

    def _value(self, root: Node, index: str) -> None:
        """The function whose largest value is looked for; choices in it are statements."""
        if any("def value" in line for line in self.lines):
            raise fail("E601", root.span, construct="a second `argmax` in a rule on lists")
        self.lines += ["", f"{INDENT}def value({index}):", f"{INDENT * 2}# {infix(root)}"]
        for here in _outside_folds(root):
            if here.op == "select":
                name = self.variables.new("part")
                condition, yes, no = (self.code(arg) for arg in here.args)
                self.lines += [f"{INDENT * 2}if {condition}:", f"{INDENT * 3}{name} = {yes}"]
                self.lines += [f"{INDENT * 2}else:", f"{INDENT * 3}{name} = {no}"]
                self.names[here] = name
        self.lines += [f"{INDENT * 2}return {self.code(root)}", ""]


def _outside_folds(root: Node) -> Iterator[Node]:
    """The nodes below `root` that know no index of a fold, arguments first, each once."""
    seen: set[Node] = set()

    def visit(here: Node) -> Iterator[Node]:
        if here not in seen:
            seen.add(here)
            for arg in here.args:
                yield from visit(arg)
            yield here

    yield from visit(root)


FOLDS = {
    "argmax": "", "sum": "sum({})", "list": "[{}]",
    "max": "max(({}), default=-math.inf)", "min": "min(({}), default=math.inf)",
}  # fmt: skip


def _pair(operator: str, binding: int) -> Callable[[_Host, Node], Text]:
    spaced = operator if binding in (PRODUCT, POWER) else f" {operator} "

    def write(host: _Host, here: Node) -> Text:
        left, right = here.args
        return f"{host.code(left, binding)}{spaced}{host.code(right, binding + 1)}", binding

    return write


def _prefix(operator: str, binding: int) -> Callable[[_Host, Node], Text]:
    return lambda host, here: (f"{operator}{host.code(here.args[0], binding)}", binding)


def _call(word: str) -> Callable[[_Host, Node], Text]:
    return lambda host, here: (f"{word}({', '.join(map(host.code, here.args))})", POSTFIX)


def _not(host: _Host, here: Node) -> Text:
    (arg,) = here.args
    if arg.op == "contains":
        return f"{host.code(arg.args[1], SUM)} not in {host.code(arg.args[0], SUM)}", COMPARE
    return f"not {host.code(arg, NOT)}", NOT


def _list(host: _Host, here: Node) -> Text:
    if here.attrs.name == "append":
        whole, last = here.args
        return f"[*{host.code(whole, OR)}, {host.code(last)}]", POSTFIX
    return _call(here.attrs.name)(host, here)


def _select(host: _Host, here: Node) -> Text:
    condition, yes, no = here.args
    return f"{host.code(yes, OR)} if {host.code(condition, OR)} else {host.code(no)}", CHOICE


def _number(host: _Host, here: Node) -> Text:
    value = here.attrs.value
    text = str(int(value)) if value == int(value) else repr(float(value))
    return text, POSTFIX if value >= 0 else UNARY


WRITERS: dict[str, Callable[[_Host, Node], Text]] = {
    "leaf": lambda host, here: (ascii(here.name), POSTFIX),
    "const": _number,
    "bool": lambda host, here: (str(here.attrs.value), POSTFIX),
    "inf": lambda host, here: ("math.inf", POSTFIX),
    "neg": _prefix("-", UNARY),
    "not": _not,
    "add": _pair("+", SUM), "sub": _pair("-", SUM), "mul": _pair("*", PRODUCT), "div": _pair("/", PRODUCT),
    "mod": _pair("%", PRODUCT), "pow": _pair("**", POWER), "and": _pair("and", AND), "or": _pair("or", OR),
    **{op: _pair(sign, COMPARE) for op, sign in signs("compare").items()},
    "max": _call("max"),
    "min": _call("min"),
    "abs": _call("abs"),
    "contains": lambda host, here: (f"{host.code(here.args[1], SUM)} in {host.code(here.args[0], SUM)}", COMPARE),
    "element": lambda host, here: (f"{host.code(here.args[0], POSTFIX)}[{host.code(here.args[1])}]", POSTFIX),
    "select": _select,
    "range": lambda host, here: (f"range({host.code(here.args[0])}, {host.code(here.args[1], SUM)} + 1)", POSTFIX),
    "host": _list,
    "fold": lambda host, here: host.fold(here),
}  # fmt: skip
