"""What a step asks outside: the user's objectives and functions, draws, and inner problems that are solved.

f.gradient(θ)                    ∇f[i](θ) of every task, one row each; f[i - 1] is the objective of one
J.gradient(u, y)                 ∇J(u; y)
F(W, u, x)                       a function of the user
asks.pullback(F, 0)(W, u, x, r)  ∇(r · F(W, u; x)), with respect to the first argument
random.choose(0, dims, m)        a draw, by its position in the file
solvers.argmin(objective, …)     a minimiser; its derivative is that of the condition it meets
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dotopt.compiler.emit.names import spelled
from dotopt.compiler.emit.sequence.batched import POSTFIX, Text
from dotopt.compiler.ir import Callable_, Lambda, Node, Program, Random, rebuild, substitute
from dotopt.compiler.ir.program import at_its_places
from dotopt.compiler.text.errors import fail

if TYPE_CHECKING:
    from dotopt.compiler.emit.functions.writer import Writer


def _oracle(b: Writer, here: Node) -> Text:
    name, what, argument, (count, _), _ = here.attrs
    indices, points = here.args[:count], here.args[count:]
    each = any(i in b.depends(point) and i not in b.bound for i in indices for point in points)
    if each or any(i in b.among for i in indices):
        return _for_each(b, here)
    asked = _declared(b, name)
    function = _callee(b, name, indices)
    arguments = ", ".join(b.code(point) for point in points)
    match what:
        case "value":
            per = argument is not None and argument.startswith("per ")
            return f"{function}.{'values' if per else 'value'}({arguments})", POSTFIX
        case "field":
            return f"{function}.value({arguments})", POSTFIX
        case "gradient" | "hessian_vector":
            position = _position(asked, argument)
            return f"{function}.{what}({arguments}{f', wrt={position}' if position else ''})", POSTFIX
    raise fail("E601", here.span, construct=f"`{here!r}`")


def _apply(b: Writer, here: Node) -> Text:
    name, order, argument, (count, arguments), _ = here.attrs
    indices, points = here.args[:count], here.args[count:]
    if any(index.role == "index" and index not in b.bound for index in indices):
        return _for_each(b, here)
    asked = _declared(b, name)
    function = _callee(b, name, indices)
    taken = arguments + len(asked.samples)
    families = tuple(dict.fromkeys(i for point in points for i in b.indices(point)))
    if order > 1:
        raise fail("E601", here.span, construct=f"a second derivative of the function `{name}`")
    if order == 1:
        word = "pullback" if len(points) > taken else "gradient"
        function = f"asks.{word}({function}, {_position(asked, argument)})"
    for index in reversed(families):  # outermost axis last, so that it is the first axis of the result
        lying = tuple(0 if index in b.indices(point) else None for point in points)
        function = f"asks.along({function}, {lying!r})"
    return f"{function}({', '.join(b.code(point) for point in points)})", POSTFIX


def _position(asked: Callable_, argument: str | None) -> int:
    return (asked.arguments or ()).index(argument) if argument in (asked.arguments or ()) else 0


def _declared(b: Writer, name: str) -> Callable_:
    assert b.program is not None
    found = next((x for x in b.program.callables if x.name == name), None)
    return found if found is not None else Callable_("objective", name, None, (), ())


def _callee(b: Writer, name: str, indices: tuple[Node, ...]) -> str:
    text = b.functions.get(name, b.argument(name))
    return text + "".join(f"[{b.code(i)} - 1]" for i in indices if i.role != "index" or i in b.bound)


def _for_each(b: Writer, here: Node) -> Text:
    """The value for each element of the first free index, one after the other, stacked along a first axis."""
    from dotopt.compiler.emit.functions.statements import write

    index = b.indices(here)[0]
    values, element = b.fresh("values"), b.fresh(index.name)
    inner = b.inner()
    elements = b.elements(index)
    inner.bind(index, element)
    b.lines.append(f"{b.indent}{values} = []")
    b.lines.append(f"{b.indent}for {element} in {elements}:")
    for arg in here.args:
        write(inner, arg)
    text = inner.code(here)
    b.lines.append(f"{inner.indent}{values}.append({text})")
    b.names[here] = f"torch.stack({values})"
    name = b.fresh(f"{spelled(index.name)}_all")
    b.lines.append(f"{b.indent}{name} = torch.stack({values})")
    b.names[here] = name
    return name, POSTFIX


# ---- what is solved


def _solved(word: str) -> Callable[[Writer, Node], Text]:
    def write(b: Writer, here: Node) -> Text:
        if b.indices(here):
            return _for_each(b, here)
        return _solution(b, here, word)

    return write


def _solution(b: Writer, here: Node, word: str) -> Text:
    """Writes the function of the inner problem, then the call of its solver."""
    from dotopt.compiler.emit.functions.statements import write as statements

    function: Lambda = here.attrs.function
    options = dict(zip(here.attrs.options, here.args[1:] if word == "conjugate_gradients" else here.args, strict=False))
    inner = b.inner()
    names = [b.fresh(variable.name) for variable in function.variables]
    inner.names.update(zip(function.variables, names, strict=True))
    title = b.fresh({"argmin": "objective", "root": "residual"}.get(word, "operator"))
    for option in options.values():
        statements(b, option)
    outer = len(b.lines)
    statements(inner, function.body)
    value = inner.code(function.body)
    made, b.lines[outer:] = b.lines[outer:], []
    b.lines += [f"{b.indent}def {title}({', '.join(names)}):", *made, f"{inner.indent}return {value}"]
    given = [f"{name}={b.code(value)}" for name, value in options.items() if name != "from"]
    if word == "conjugate_gradients":
        start = b.code(here.args[0])
    elif "from" in options:
        start = _filled(
            b, here, b.code(options["from"]), b.is_tensor(options["from"]) and bool(options["from"].type.axes)
        )
    else:
        start = _filled(b, here, "0.0", False)
    if word == "argmin" and here.attrs.method:
        given.append(f"by={here.attrs.method!r}")
    text = f"solvers.{word}({', '.join((title, start, *given))})"
    name = b.fresh("solution")
    b.lines.append(f"{b.indent}{name} = {text}")
    b.names[here] = name
    return name, POSTFIX


def _filled(b: Writer, here: Node, text: str, whole: bool) -> str:
    if whole:
        return text
    sizes = ", ".join(b.sizes[axis] for axis in here.type.axes)
    return f"torch.full(({sizes}{',' if here.type.axes else ''}), {text}, dtype=dtype, device=device)"


@at_its_places
def shared(program: Program) -> Program:
    """The program with inner problems that differ in the names of their variables only made one."""
    seen: list[Node] = []

    def change(here: Node) -> Node:
        if here.op not in ("argmin", "root", "cg"):
            return here
        function: Lambda = here.attrs.function
        for other in seen:
            theirs: Lambda = other.attrs.function
            if other.op != here.op or other.args != here.args or other.attrs._replace(function=function) != here.attrs:
                continue
            if [v.type for v in theirs.variables] != [v.type for v in function.variables]:
                continue
            table = dict(zip(function.variables, theirs.variables, strict=True))
            if substitute(function.body, table) is theirs.body:
                return other
        seen.append(here)
        return here

    done: dict[Node, Node] = {}

    def changed(root: Node) -> Node:
        if root not in done:
            done[root] = rebuild(root, change)
        return done[root]

    return program.mapped(changed)


# ---- draws


def draw_text(b: Writer, random: Random) -> str:
    """The call that makes a draw."""
    path = f", path=({', '.join(b.path)},)" if b.path else ""
    arguments = [b.code(arg) for arg in random.args]
    if random.law == "batch":
        return f"random.sample({random.name!r}{''.join(f', {a}' for a in arguments)}{path})"
    if random.law in ("choose", "permutation"):
        return f"random.{random.law}({', '.join((str(random.position), *arguments))}{path})"
    shape = ", ".join(b.sizes[axis] for axis in random.type.axes)
    shape = f"({shape}{',' if len(random.type.axes) == 1 else ''})"
    return f"random.{random.law}({', '.join((str(random.position), shape, *arguments))}{path})"


QUESTIONS: dict[str, Callable[[Writer, Node], Text]] = {
    "oracle": _oracle,
    "apply": _apply,
    "argmin": _solved("argmin"),
    "root": _solved("root"),
    "cg": _solved("conjugate_gradients"),
}
