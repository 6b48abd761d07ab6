"""Rules without a state as Python modules: what they make of their inputs in one call, and layers one at a time.

    call(inputs, functions, hyper)               everything at once
    start, layer, finish                         the passes of one loop over layers, each a call of its own

A rule is of the second kind if its outputs come from one `iterate … for l in layers`, and the user passes a function
for each layer. Then a network can put other blocks between two layers. A formula is a plain function.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

from dotopt.compiler.emit.parts import (
    MODULES,
    docstring,
    documented,
    equation_lines,
    header,
    hyper_text,
    input_text,
    refuse_name,
)
from dotopt.compiler.emit.sequence.batched import Batched, families
from dotopt.compiler.emit.sequence.token import INDENT, reach, refuse, write_equations
from dotopt.compiler.evaluate import evaluate
from dotopt.compiler.ir import Loop, Node, Program, leaf, node
from dotopt.compiler.ir.program import at_its_places
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.lower.assemble import context_of
from dotopt.compiler.lower.context import Context
from dotopt.compiler.lower.expression import value
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.library import Library
from dotopt.grammar.spelling import ascii

CALLED = (*MODULES, "dtype", "device", "min", "max", "abs", "range", "int", "bool", "enumerate", "zip", "tuple")


def module(file: s.File, library: Library, origin: tuple[object, ...] | None = None) -> str:
    """The text of the module of a rule of the kind `solver`; raises `OptError` if a construct is not compiled yet."""
    refuse_name(file)
    whole = lower(file, Static(), library)
    texts: dict[tuple[bool | str, ...], tuple[str, ...]] = {}
    for options in product(*(option.values for option in whole.options)):
        given = {option.name: value for option, value in zip(whole.options, options, strict=True)}
        texts[options] = functions(lower(file, Static(given), library))
    layered = all(len(found) == 3 for found in texts.values())
    distinct = list(dict.fromkeys(text for found in texts.values() for text in found))
    names = {text: _named(text, distinct) for text in distinct}
    code = "\n\n\n".join(text.replace(f"def {_word(text)}(", f"def {names[text]}(", 1) for text in distinct)
    rows = [f"{options!r}: ({''.join(f'{names[text]}, ' for text in found)})," for options, found in texts.items()]
    base = "LayerModule" if layered else "CallModule"
    inputs = "".join(f"{input_text(x)}, " for x in whole.inputs)
    asked = "".join(f"Given({x.name!r}, {bool(x.indices)}), " for x in whole.callables)
    lines = [
        header(file, whole), "", *_imports(code),
        f"from dotopt.runtime.call import {', '.join(sorted(('CallRule', base)))}",
        *(["from dotopt.runtime.given import Given"] if whole.callables else []), *_rule_import(whole),
        "from dotopt.runtime.sequence import Input", "", f"__all__ = [{whole.name!r}]", "", "",
        code, "", "", f"class {whole.name}({base}):", f"    {documented(whole)}", "",
        f"    origin = {origin!r}",
        "    rule = CallRule(",
        f"        name={whole.name!r},",
        f"        doc={(whole.docstring or '')!r},",
        f"        source={(whole.source or '')!r},",
        "        text=(",
        *(f"            {line!r}" for line in equation_lines(file, whole)),
        "        ),",
        f"        inputs=({inputs}),",
        f"        outputs=({''.join(f'{name!r}, ' for name in whole.outputs)}),",
        f"        functions=({asked}),",
        "        hypers=(",
        *(f"            {hyper_text(hyper, whole)}," for hyper in whole.hypers),
        "        ),",
        "        options=(",
        *(f"            Option({o.name!r}, {o.keyword!r}, {o.values!r}, {o.default!r})," for o in whole.options),
        "        ),",
        "        calls={",
        *(f"            {row}" for row in rows),
        "        },",
        "    )",
        "",
    ]  # fmt: skip
    return "\n".join(lines)

# formulas that take a function, and that the compiler knows as solvers of inner problems
SOLVERS = {"cg": "conjugate_gradients"}


def formula(file: s.File, library: Library) -> str:
    """The text of the module of a formula: a function of tensors with any leading axes."""
    refuse_name(file)
    program, context = context_of(file, Static(), library)
    if program.name in SOLVERS:
        name, word = program.name, SOLVERS[program.name]
        taken = f"from dotopt.runtime.functions.solvers import {word} as {name}"
        return "\n".join((header(file, program), "", taken, "", f"__all__ = [{name!r}]", ""))
    if program.randoms:
        from dotopt.compiler.emit.functions import formula as drawing

        return drawing.module(file, program, {p.name: _default(p, context) for p in file.head.parameters})
    refuse(program)
    assert program.result is not None
    sizes: dict[str, str] = {}
    b = Batched({}, sizes)
    given = {p.name: _argument(b, ascii(p.name)) for p in file.head.parameters}
    tensors: list[str] = []
    for here in program.result.walk():
        if here.role == "free":
            name = b.names[here] = given.get(here.name, ascii(here.name))
            b.tensor[here] = bool(here.type.axes)
            sizes |= {a: f"{name}.shape[{i - len(here.type.axes)}]" for i, a in enumerate(here.type.axes)}
            tensors += [name] * b.tensor[here]
    arguments = ", ".join(given[p.name] + _default(p, context) for p in file.head.parameters)
    b.lines += [f"def {program.name}({arguments}):", f"{INDENT}{documented(program)}"]
    if tensors and any(x.op in ("eye", "arange", "ones", "zeros") for x in program.result.walk()):
        b.lines.append(f"{INDENT}dtype, device = {tensors[0]}.dtype, {tensors[0]}.device")
    write_equations(program, b, program.result)
    b.lines.append(f"{INDENT}return {b.code(program.result)}")
    code = "\n".join(b.lines)
    gap = [""] if "scalars." in code or "matrices." in code else []
    exported = f"__all__ = [{program.name!r}]"
    return "\n".join((header(file, program), "", *_imports(code), *gap, exported, "", "", code, ""))


def _argument(b: Batched, name: str) -> str:
    """The argument of a formula: its own name, by which users may give it, unless the text calls something so."""
    if name in CALLED:
        return b.fresh(name)
    b.variables.taken.add(name)
    return name


def _default(parameter: s.Parameter, context: Context) -> str:
    """`=1e-5`, as in the file, or the value of what is not a plain number."""
    match parameter.default:
        case None:
            return ""
        case s.Number(span=span):
            return f"={span.text}"
        case other:
            return f"={float(evaluate(value(context, other, context.scope), {})):.17g}"


def _word(text: str) -> str:
    return text.removeprefix("def ").partition("(")[0]


def _named(text: str, distinct: list[str]) -> str:
    """`layer`, or `layer2` where the options give several."""
    alike = [other for other in distinct if _word(other) == _word(text)]
    return _word(text) + (str(alike.index(text) + 1) if len(alike) > 1 else "")


def _imports(code: str) -> list[str]:
    lines = ["import math", ""] if "math." in code else []
    lines += ["import torch"] if "torch." in code else []
    lines += ["from torch.nn import functional"] if "functional." in code else []
    lines += [""] if lines and lines[-1] else []
    shared = [name for name in ("matrices", "scalars") if f"{name}." in code]
    return lines + ([f"from dotopt.runtime import {', '.join(shared)}"] if shared else [])


def _rule_import(program: Program) -> list[str]:
    words = sorted({*(["Hyper"] if program.hypers else []), *(["Option"] if program.options else [])})
    return [f"from dotopt.runtime.rule import {', '.join(words)}"] if words else []


@at_its_places
def functions(program: Program) -> tuple[str, ...]:
    """`start`, `layer` and `finish` of one specialisation, or `call` alone."""
    refuse(program)
    loop = _depth(program)
    return (_call(program),) if loop is None else (_start(program, loop), _layer(program, loop), _finish(program, loop))


def _depth(program: Program) -> Node | None:
    """The one loop over layers, if its body reads nothing but its variables and the user's functions of each layer."""
    loops = {here for root in program.roots for here in root.walk() if here.op == "loop"}
    if len(loops) != 1:
        return None
    (here,) = loops
    body: Loop = here.attrs.body
    if body.index is None or not families(body, body.index) or here.args[1].role != "input":
        return None
    alone = all(x.role != "input" for root in body.nodes for x in root.walk())
    plain = all(x.role != "axis" for root in program.roots for x in root.walk())
    return here if alone and plain and not any(x.args for x in body.variables) else None


# ---- the functions ---------------------------------------------------------------------------------------------------


def _writer(program: Program) -> Batched:
    """A writer with a variable for each input, function and hyperparameter."""
    sizes: dict[str, str] = {}
    b = Batched({}, sizes)
    for x in program.inputs:
        name = b.names[leaf("input", x.name, x.type)] = b.fresh(ascii(x.name))
        for i, axis in enumerate(x.type.axes):
            sizes.setdefault(axis, f"{name}.shape[{i - len(x.type.axes)}]")
    b.functions = {x.name: b.fresh(ascii(x.name)) for x in program.callables}
    for hyper in program.hypers:
        name = b.fresh(ascii(hyper.name))
        found = {x for root in program.roots for x in root.walk() if x.role == "hyper" and x.name == hyper.name}
        b.names |= dict.fromkeys(found, name)
    return b


def _inputs(program: Program, b: Batched) -> list[str]:
    return [b.names[leaf("input", x.name, x.type)] for x in program.inputs]


def _open(program: Program, b: Batched, head: str, text: str, roots: Iterable[Node]) -> None:
    """The first lines: the hyperparameters that are read; what has a variable already is not looked into."""
    reached = [x for root in roots for x in reach(root, b)]
    b.lines += [f"def {head}:", f"{INDENT}{docstring(text)}"]
    used = {x.name: b.names[x] for x in reached if x.role == "hyper"}
    b.lines += [f'{INDENT}{used[h.name]} = hyper["{h.name}"]' for h in program.hypers if h.name in used]
    if any(x.op in ("eye", "arange", "ones", "zeros") for x in reached):
        kinds = dict(zip(_inputs(program, b), (x.type.kind for x in program.inputs), strict=True))
        example = next((name for name, kind in kinds.items() if kind == "real"), next(iter(kinds)))
        b.lines.append(f"{INDENT}dtype, device = {example}.dtype, {example}.device")


def _close(b: Batched, values: Mapping[str, Node]) -> str:
    written = ", ".join(f'"{name}": {b.code(root)}' for name, root in values.items())
    b.lines.append(f"{INDENT}return {{{written}}}")
    return "\n".join(b.lines)


def _call(program: Program) -> str:
    b = _writer(program)
    arguments = [*_inputs(program, b), *b.functions.values()]
    every = [x for root in program.outputs.values() for x in root.walk()]
    _open(program, b, f"call({', '.join(arguments)}, hyper)", "The outputs.", every)
    for root in program.outputs.values():
        write_equations(program, b, root)
    return _close(b, program.outputs)


def _living(program: Program, loop: Node) -> dict[Node, tuple[Node, Node]]:
    """The variables that the outputs need: variable -> start, next value."""
    body: Loop = loop.attrs.body
    moves = dict(zip(body.variables, zip(loop.args[1:], body.nexts, strict=True), strict=True))
    read = {x.attrs.position for root in program.outputs.values() for x in root.walk() if x.op == "item"}
    waiting = [body.variables[0], *(body.variables[position] for position in read)]
    needed: set[Node] = set()
    while waiting:
        here = waiting.pop()
        if here not in needed:
            needed.add(here)
            waiting += [x for x in moves[here][1].walk() if x in moves]
    return {variable: moves[variable] for variable in body.variables if variable in needed}


def _start(program: Program, loop: Node) -> str:
    b = _writer(program)
    arguments = ", ".join(_inputs(program, b))
    values = {variable.name: start for variable, (start, _) in _living(program, loop).items()}
    _open(program, b, f"start({arguments}, hyper)", "Before the first layer.", values.values())
    for variable, (start, _) in _living(program, loop).items():
        whole = next((x for x in program.inputs if x.type.axes == variable.type.axes), None)
        if start.value is not None and variable.type.axes and whole is not None:  # a number, for a whole tensor
            like = b.names[leaf("input", whole.name, whole.type)]
            b.names[start] = f"torch.full_like({like}, {b.code(start)})" if start.value else f"torch.zeros_like({like})"
    return _close(b, values)


def _layer(program: Program, loop: Node) -> str:
    """One pass, with the functions of this layer."""
    body: Loop = loop.attrs.body
    assert body.index is not None
    moves = _living(program, loop)
    b = _writer(program)
    b.names[body.index] = b.fresh(ascii(body.index.name))
    b.tensor[body.index] = False
    b.names |= {variable: b.fresh(ascii(variable.name)) for variable in moves}
    arguments = ", ".join((b.names[body.index], *b.functions.values(), *(b.names[variable] for variable in moves)))
    nexts = {variable.name: next for variable, (_, next) in moves.items()}
    _open(program, b, f"layer({arguments}, hyper)", f"Layer {body.index.name}, from 1.", nexts.values())
    table = {e.node: e for e in (*reversed(program.equations), *reversed(body.equations))}
    for root in nexts.values():
        write_equations(program, b, root, table)
    return _close(b, nexts)


def _finish(program: Program, loop: Node) -> str:
    body: Loop = loop.attrs.body
    b = _writer(program)
    moves = _living(program, loop)
    left = {variable: b.fresh(ascii(variable.name)) for variable in moves}
    for position, variable in enumerate(body.variables):
        if variable in moves:
            b.names[node("item", loop, attrs=(position,))] = left[variable]
    arguments = ", ".join((*_inputs(program, b), *left.values()))
    _open(program, b, f"finish({arguments}, hyper)", "After the last layer: the outputs.", program.outputs.values())
    for root in program.outputs.values():
        write_equations(program, b, root)
    return _close(b, program.outputs)
