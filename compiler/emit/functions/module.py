"""Rules that are pure functions as Python modules: the functions of each choice of options, and a thin class."""

from __future__ import annotations

import re
from itertools import product

from dotopt.compiler.emit.functions.frame import undeclared
from dotopt.compiler.emit.functions.party import chosen, own_states, party, role_of
from dotopt.compiler.emit.functions.step import functions, init
from dotopt.compiler.emit.parts import equation_lines, header, hyper_text
from dotopt.compiler.ir import Input, Param, Program
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.ops.types import REST
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.library import Library
from dotopt.grammar.spelling import ascii

# the class of each kind, and its home
FACES = {
    "aggregator": ("Aggregator", "aggregate"),
    "minimize": ("Minimizer", "minimize"),
    "solver": ("Solver", "solve"),
    "optimizer": ("Learner", "learn"),
    "protocol": ("Protocol", "protocol"),
}
WORDS = ("asks", "solvers")
FUNCTIONAL = {"oracle", "fold", "argmin", "root", "cg", "keep_largest", "apply"}


def wanted(program: Program) -> bool:
    """Whether a rule is compiled to pure functions: the kinds that are, and solvers that ask or solve on their way."""
    match program.kind:
        case "aggregator" | "minimize" | "protocol":
            return True
        case "solver":
            open_axes = any(REST in x.type.axes or x.indices or x.type.kind == "sample" for x in program.inputs)
            asks = {here.op for root in program.roots for here in root.walk()}
            return open_axes or bool(asks & (FUNCTIONAL - {"apply"}))
        case "optimizer":
            return bool(program.callables) and any(
                c.word == "function" or (c.word == "objective" and c.samples) for c in program.callables
            )
    return False


def module(file: s.File, library: Library, origin: tuple[object, ...] | None = None) -> str:
    """The text of the module of a rule; raises `OptError` (E601) if a construct has no code in torch."""
    whole = lower(file, Static(), library)
    texts: dict[tuple[bool | str, ...], str] = {}
    for options in product(*(option.values for option in whole.options)):
        given = {option.name: value for option, value in zip(whole.options, options, strict=True)}
        program = lower(file, Static(given), library)
        texts[options] = _protocol(program) if program.roles else functions(program)
    distinct = list(dict.fromkeys(texts.values()))
    mark = {text: str(i + 1) if len(distinct) > 1 else "" for i, text in enumerate(distinct)}
    words = ("init", "chosen", "party") if whole.roles else ("init", "step")
    code = "\n\n\n".join(_marked(text, words, mark[text]) for text in distinct)
    rows = [f"            {options!r}: {_functions(words, mark[text])}," for options, text in texts.items()]
    face, home = FACES[whole.kind]
    return "\n".join((
        header(file, whole), "", *_imports(code, whole), f"from dotopt.runtime.functions.{home} import {face}",
        f"from dotopt.runtime.functions.rule import {', '.join(_rule_words(whole))}",
        *_signature_import(whole),
        *(["from dotopt.runtime.sequence.rule import Input"] if whole.params or whole.inputs else []),
        "", f"__all__ = [{whole.name!r}]", "", "", code, "", "", *_class(file, whole, face, rows, origin), "",
    ))  # fmt: skip


def _protocol(program: Program) -> str:
    return f"{init(program)}\n\n\n{chosen(program)}\n\n\n{party(program)}"


def _marked(text: str, words: tuple[str, ...], mark: str) -> str:
    for word in words:
        text = text.replace(f"def {word}(", f"def {word}{mark}(", 1)
    return text


def _functions(words: tuple[str, ...], mark: str) -> str:
    first, *rest = (f"{word}{mark}" for word in words)
    return f"({first}, {rest[0] if len(rest) == 1 else '(' + ', '.join(rest) + ')'})"


def _imports(code: str, program: Program) -> list[str]:
    plain = [name for name in ("cmath", "math") if f"{name}." in code]
    lines = [f"import {name}" for name in plain] + ([""] if plain else [])
    lines += ["import torch"] if "torch." in code else []
    lines += ["from torch.nn import functional"] if re.search(r"\bfunctional\.", code) else []
    lines += [""] if lines and lines[-1] else []
    shared = [name for name in ("matrices", "scalars") if f"{name}." in code]
    lines += [f"from dotopt.runtime import {', '.join(shared)}"] if shared else []
    kinds = [kind for kind in ("Max", "Mean", "Min", "Sum") if re.search(rf"\b{kind}\(", code)]
    lines += [f"from dotopt.runtime.functions.messages import {', '.join(kinds)}"] if program.roles and kinds else []
    used = [name for name in WORDS if f"{name}." in code]
    lines += [f"from dotopt.runtime.functions import {', '.join(used)}"] if used else []
    return lines


def _rule_words(program: Program) -> list[str]:
    words = {"FunctionRule"}
    words |= {"Asked"} if program.callables or undeclared(program) else set()
    words |= {"Role"} if program.roles else set()
    words |= {"Sampled"} if any(r.law == "batch" for r in program.randoms) else set()
    return sorted(words)


def _signature_import(program: Program) -> list[str]:
    words = [word for word, found in (("Hyper", program.hypers), ("Option", program.options)) if found]
    return [f"from dotopt.runtime.rule import {', '.join(words)}"] if words else []


def _class(file: s.File, program: Program, face: str, rows: list[str], origin: tuple[object, ...] | None) -> list[str]:
    equations = equation_lines(file, program)
    outputs = {name: root.type.axes for name, root in program.outputs.items()}
    return [
        f"class {program.name}({face}):",
        f"    __doc__ = {(program.docstring or program.name).strip()!r}",
        "",
        f"    origin = {origin!r}",
        "    rule = FunctionRule(",
        f"        name={program.name!r},",
        f"        kind={program.kind!r},",
        f"        doc={(program.docstring or '')!r},",
        f"        source={(program.source or '')!r},",
        "        text=(",
        *(f"            {line!r}" for line in equations or ["\n"]),
        "        ),",
        f"        params=({''.join(f'{_input(x)}, ' for x in program.params)}),",
        f"        inputs=({''.join(f'{_input(x)}, ' for x in program.inputs)}),",
        f"        outputs={outputs!r},",
        f"        asked=({''.join(f'{text}, ' for text in _asked(program))}),",
        f"        samples=({''.join(f'{text}, ' for text in _samples(program))}),",
        "        hypers=(",
        *(f"            {hyper_text(hyper, program)}," for hyper in program.hypers),
        "        ),",
        "        options=(",
        *(f"            Option({o.name!r}, {o.keyword!r}, {o.values!r}, {o.default!r})," for o in program.options),
        "        ),",
        "        functions={",
        *rows,
        "        },",
        *(_roles(program) if program.roles else ()),
        f"        families={ {x.name: x.indices[0][1] for x in program.inputs if x.indices}!r},",
        "    )",
    ]


def _roles(program: Program) -> list[str]:
    role = role_of(program)
    own = tuple(state.name for state in own_states(program))
    return [f"        role=Role({role.indices[0][1]!r}, {own!r}),"]


def _input(x: Input | Param) -> str:
    if isinstance(x, Param):
        return f"Input({x.name!r}, {ascii(x.name)!r}, {x.type.axes!r})"
    from dotopt.compiler.emit.parts import input_text

    return input_text(x)


def _asked(program: Program) -> list[str]:
    rows = []
    for x in program.callables:
        family = x.indices[0][1] if x.indices else ""
        row = f"Asked({x.word!r}, {x.name!r}, {ascii(x.name)!r}, {tuple(x.arguments or ())!r}, {tuple(x.samples)!r}"
        rows.append(row + (f", {family!r})" if family else ")"))
    words = {o.attrs.name: "operator" if o.attrs.what == "field" else "objective" for o in program.oracles}
    return rows + [f"Asked({words[name]!r}, {name!r}, {ascii(name)!r})" for name in undeclared(program)]


def _samples(program: Program) -> list[str]:
    drawn = {x.name: x for x in program.randoms if x.law == "batch"}
    return [f"Sampled({x.name!r}, {ascii(x.name)!r}{', at=True' if x.args else ''})" for x in drawn.values()]
