"""How what families, loops and questions to the user need is written; other operations are as for sequences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from dotopt.compiler.emit.functions.questions import QUESTIONS, draw_text
from dotopt.compiler.emit.functions.writer import Writer, aligned, binds
from dotopt.compiler.emit.sequence.batched import POSTFIX as POST
from dotopt.compiler.emit.sequence.batched import PRODUCT, WRITERS, Batched, Text, decimal
from dotopt.compiler.emit.sequence.token import COSTLY
from dotopt.compiler.ir import Equation, Fold, Lambda, Loop, Node
from dotopt.compiler.ir.print import infix
from dotopt.compiler.text.errors import fail

Write = Callable[[Writer, Node], Text]
HEAVY = COSTLY | {"oracle", "fold", "argmin", "root", "cg", "keep_largest", "solve", "apply", "attention"}


# ---- statements


def write(b: Writer, *roots: Node, equations: Iterable[Equation] = ()) -> None:
    """Writes what `roots` need, each value once: what has a name, answers of the user, and costly values read twice.

    What stands in the branch of a choice that a number decides is left to that branch.
    """
    table = {e.node: e for e in reversed(tuple(equations))}
    b.early = frozenset()
    b.early = early = _early(b, _needed(b, roots))
    needed = _needed(b, roots)
    uses = Counter(child for here in needed for child in set(_reads(b, here)))
    for here in needed:
        if here.role == "draw" and here not in b.names:
            _drawn(b, here)
        if here in b.names or here.op in ("leaf", "const", "bool", "pi", "inf", "tuple", "range"):
            continue
        if here in table:
            equation = table[here]
            shown = equation.span.text.strip().split("\n")[0] if equation.span is not None else equation.label
            _assign(b, here, equation.label, f"# {shown}")
        elif here.op == "oracle" and b.named(here) is None:
            _assign(b, here, "answer", "")
        elif here.op in ("loop", "argmin", "root", "cg"):
            b.text(here)
        elif (here in early and b.named(here) is None) or (
            uses[here] > 1 and here.op in HEAVY and b.is_tensor(here) and b.named(here) is None
        ):
            _assign(b, here, "part", "")


def _drawn(b: Writer, here: Node) -> None:
    """A draw inside a loop or a role: one for each pass."""
    assert b.program is not None
    random = next(r for r in b.program.randoms if r.name == here.name)
    name = b.fresh(here.name)
    b.lines.append(f"{b.indent}{name} = {draw_text(b, random)}")
    b.names[here] = name


def _reads(b: Writer, here: Node) -> tuple[Node, ...]:
    """What is computed at the same place as `here`: its arguments, and the body of a sum over whole axes."""
    if by_host(b, here):
        return (here.args[0], *(x for x in b.early if x in _inside(here)))
    if here.op == "fold" and not restricted(here) and not _serial(b, here.attrs.body):
        return (*here.args, *here.attrs.body.nodes)
    return here.args


def by_host(b: Writer, here: Node) -> bool:
    """Whether a choice is made by a number of the host, so that only one branch is computed."""
    return here.op == "select" and not b.is_tensor(here.args[0])


def _inside(here: Node) -> set[Node]:
    """What is below a choice."""
    return {x for part in here.args[1:] for x in part.walk()}


def _early(b: Writer, needed: list[Node]) -> frozenset[Node]:
    """Costly values that several branches need, both of one choice or those of two: they are computed before."""
    found: dict[Node, set[tuple[Node, int]]] = {}
    for here in needed:
        if by_host(b, here):
            for side, part in enumerate(here.args[1:]):
                for x in _needed_in(b, part):
                    found.setdefault(x, set()).add((here.args[0], side))
    fixed = set(needed)
    several = {
        x for x, where in found.items()
        if len(where) > 1 and x not in fixed and x not in b.names and (x.op in HEAVY or x.op == "select")
    }  # fmt: skip
    several = {x for other in found if other not in several for x in other.args if x in several}
    moving = {v for x in several for inner in x.walk() for attr in inner.attrs
              if isinstance(attr, Loop | Fold | Lambda) for v in binds(attr, ())}  # fmt: skip
    return frozenset(x for x in several if not moving & b.leaves(x))


def _needed_in(b: Writer, part: Node) -> set[Node]:
    """What a branch computes, with the branches inside it."""
    found: set[Node] = set()
    stack = [part]
    while stack:
        here = stack.pop()
        if here not in found and here not in b.names:
            found.add(here)
            stack.extend(here.args)
    return found


def restricted(here: Node) -> bool:
    """Whether a sum runs over some elements of a set only."""
    return here.args[0].op != "range" and here.args[0].role != "set"


def _needed(b: Writer, roots: Iterable[Node]) -> list[Node]:
    """What is computed for `roots` here, arguments first; not what a loop, a member or a branch computes inside."""
    found: list[Node] = []
    seen: set[Node] = set()
    stack = [(root, False) for root in reversed(tuple(roots))]
    while stack:
        here, done = stack.pop()
        if done:
            found.append(here)
        elif here not in seen:
            seen.add(here)
            stack.append((here, True))
            if here not in b.names:
                stack.extend((child, False) for child in reversed(_reads(b, here)))
    return found


def _assign(b: Writer, here: Node, name: str, comment: str) -> None:
    if here.op == "item" and here.args[0].op == "loop":
        b.text(here)  # the loop writes its own lines
        return
    text = b.code(here)
    chosen = b.fresh(name)
    b.lines += [f"{b.indent}{comment}"] if comment else []
    note = "" if comment or len(shown := infix(here)) > 60 else f"  # {shown}"
    b.lines.append(f"{b.indent}{chosen} = {text}{note}")
    b.names[here] = chosen


# ---- leaves


def _leaf(b: Writer, here: Node) -> Text:
    match here.role:
        case "index":
            return (b.bound[here] if here in b.bound else _numbers(b, here)), POST
        case "set":
            return f"range(1, {b.sizes[here.name]} + 1)", POST
        case "time":
            return "t", POST
        case "hyper" | "axis":
            return b.sizes[here.name], POST
        case "param" | "state" | "input" | "loop" | "hyper" if here.args:
            return _relative(b, here), POST
    return WRITERS["leaf"](b, here)


def _numbers(b: Writer, index: Node) -> str:
    """The variable with the elements of an index, as numbers."""
    name = b.fresh(index.name)
    if index in b.among:
        text = f"torch.tensor({b.among[index]}, dtype=dtype, device=device)"
    else:
        elements = b.elements(index).removeprefix("range(").removesuffix(")")
        text = f"torch.arange({elements}, dtype=dtype, device=device)"
    b.lines.append(f"{b.indent}{name} = {text}")
    b.names[index] = name
    return name


def _relative(b: Writer, here: Node) -> str:
    """A member of a family whose name is known for other indices: `p[j]` where `p[i]` is a variable."""
    for known in b.names:
        same = known.op == "leaf" and known.attrs == here.attrs and len(known.args) == len(here.args)
        if same and all(a.role == "index" for a in here.args):
            table = dict(zip(known.args, here.args, strict=True))
            return b._member(known, {old: new for old, new in table.items() if old is not new})
    raise fail("E601", here.span, construct=f"`{here!r}`")


# ---- sums over indices


def _fold(b: Writer, here: Node) -> Text:
    body: Fold = here.attrs.body
    if body.kind == "list":
        raise fail("E601", here.span, construct=f"the list `{infix(here)}`")
    return _one_by_one(b, here, body) if _serial(b, body) else _at_once(b, here, body)


def _serial(b: Writer, body: Fold) -> bool:
    """Whether the elements must be taken one by one: a function of the user for each, or something solved."""
    return any(
        inner.op in QUESTIONS and inner.op != "oracle" and set(body.indices) & b.depends(inner)
        for root in body.nodes
        for inner in root.walk()
    )


def _at_once(b: Writer, here: Node, body: Fold) -> Text:
    inner = b
    if restricted(here):
        inner = b.inner(deeper=False)
        for index in body.indices:
            inner.restrict(index, b.code(here.args[0]))
    write(inner, *body.nodes)
    indices = [f"[{index.name}]" for index in body.indices]
    own = inner.axes(body.body)
    wanted = (*(a for a in own if a.startswith("[") and a not in indices), *indices, *(a for a in own if a[0] != "["))
    missing = [a for a in indices if a not in own]
    text = inner.code(body.body, POST)
    if not inner.is_tensor(body.body):
        text = f"torch.as_tensor({text}, dtype=dtype, device=device)"
    text = aligned(text, own, wanted) if own != wanted else text
    first = sum(1 for a in wanted if a.startswith("[") and a not in indices)
    dims = tuple(range(first, first + len(indices)))
    if missing:  # the same for each element
        counts = [inner.count(index) for index in body.indices]
        sizes = ", ".join(["-1"] * first + counts + ["-1"] * (len(wanted) - first - len(indices)))
        text = (
            f"{text}[{', '.join([':'] * first + ['None'] * len(missing))}].expand({sizes})"
            if len(missing) == len(indices)
            else f"{text}.expand({sizes})"
        )
    dim = str(dims[0]) if len(dims) == 1 else str(dims)
    if body.condition is None:
        return f"{text}.{_METHOD[body.kind]}({dim})" + ("" if body.kind != "argmax" else " + 1"), POST
    mask = aligned(inner.code(body.condition, POST), inner.axes(body.condition), wanted)
    empty = {"sum": "0", "mean": "0", "max": "-torch.inf", "min": "torch.inf", "argmax": "-torch.inf"}[body.kind]
    kept = f"torch.where({mask}, {text}, {empty})"
    if body.kind == "mean":
        count = inner.code(body.condition, POST)
        whole = f"({count})" if count.startswith("(") is False else count
        extra = [i for i in body.indices if i not in b.depends(body.condition)]
        times = "".join(f"*{inner.count(i)}" for i in extra)
        return f"{kept}.sum({dim})/({whole}.sum(){times})", PRODUCT
    return f"{kept}.{_METHOD[body.kind]}({dim})" + (" + 1" if body.kind == "argmax" else ""), POST


_METHOD = {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin", "argmax": "argmax"}


def _one_by_one(b: Writer, here: Node, body: Fold) -> Text:
    """`for i in S:` with what the elements add up to."""
    if len(body.indices) > 1:
        raise fail("E601", here.span, construct=f"`{infix(here)}`, over several indices of functions,")
    (index,) = body.indices
    domain = here.args[0]
    total, element = b.fresh("total"), b.fresh(index.name)
    inner = b.inner()
    inner.bind(index, element)
    elements = b.code(domain) if domain.role == "draw" else b.elements(index)
    start = len(b.lines)
    write(inner, *body.nodes)
    value = inner.code(body.body)
    made, b.lines[start:] = b.lines[start:], []
    counted = body.kind == "mean"
    first = {"sum": "0.0", "mean": "0.0", "max": "-torch.inf", "min": "torch.inf"}.get(body.kind)
    if first is None:
        raise fail("E601", here.span, construct=f"`{body.kind}` over functions of the user")
    joined = {
        "max": f"torch.maximum(torch.as_tensor({total}), {value})",
        "min": f"torch.minimum(torch.as_tensor({total}), {value})",
    }.get(body.kind, f"{total} + {value}")
    b.lines += [f"{b.indent}{total} = {first}", f"{b.indent}for {element} in {elements}:"]
    if body.condition is not None:
        b.lines += [f"{inner.indent}if not ({inner.code(body.condition)}):", f"{inner.indent}    continue"]
    b.lines += [*made, f"{inner.indent}{total} = {joined}"]
    return (f"{total}/len({elements})", PRODUCT) if counted else (total, POST)


# ---- loops


def _loop(b: Writer, here: Node) -> Text:
    """Writes the passes as lines, and returns the tuple of the loop's variables."""
    body: Loop = here.attrs.body
    count, *starts = here.args
    names = []
    values = []
    for variable, start in zip(body.variables, starts, strict=True):
        write(b, start)
        values.append(_start(b, variable, start))
        names.append(b.fresh(variable.name))
    b.lines += [f"{b.indent}{name} = {value}" for name, value in zip(names, values, strict=True)]
    inner = b.inner()
    hoist(b, body.nodes, binds(body, {x for root in body.nodes for x in root.walk()}))
    inner.names |= b.names
    inner.items |= b.items
    for variable, name in zip(body.variables, names, strict=True):
        inner.names[variable] = name
    number = b.fresh(body.index.name if body.index is not None else "turn")
    if body.index is None:
        most = b.code(count) if count.value is not None else f"int({b.code(count)})"
        b.lines.append(f"{b.indent}for {number} in range(1, {most} + 1):")
    else:
        inner.bind(body.index, number)
        for variable in body.variables:
            inner.names[variable] = names[body.variables.index(variable)]
        b.lines.append(
            f"{b.indent}for {number} in {b.code(count) if count.role == 'draw' else b.elements(body.index)}:"
        )
    inner.path = (*b.path, number)
    if body.until is not None:
        write(inner, body.until, equations=body.equations)
        b.lines += [f"{inner.indent}if bool({inner.code(body.until)}):", f"{inner.indent}    break"]
    write(inner, *body.nexts, equations=body.equations)
    nexts = ", ".join(inner.fitted(n, v) for n, v in zip(body.nexts, body.variables, strict=True))
    b.lines.append(f"{inner.indent}{', '.join(names)} = {nexts}")
    b.names[here] = f"({', '.join(names)},)"
    for position, name in enumerate(names):
        b.items[here, position] = name
    return b.names[here], POST


def _start(b: Writer, variable: Node, start: Node) -> str:
    """The value before the first pass, in the shape of the variable."""
    text = b.fitted(start, variable)
    axes = [axis for axis in b.axes(variable) if axis not in b.axes(start)]
    if not axes and b.axes(start):
        return text
    if not b.axes(variable):
        return text if b.is_tensor(start) else f"torch.as_tensor({text}, dtype=dtype, device=device)"
    own = ", ".join(b.sizes.get(a, a) for a in variable.type.axes)
    family = ", ".join(b.count(index) for index in b.indices(variable))
    shape = ", ".join(part for part in (family, own) if part)
    dtype = "asks.complex_of(dtype)" if variable.type.kind == "complex" else "dtype"
    if b.is_tensor(start):
        return f"{text}.expand({shape})" + (f".to({dtype})" if variable.type.kind == "complex" else "")
    return f"torch.full(({shape},), {text}, dtype={dtype}, device=device)"


def hoist(b: Writer, roots: Iterable[Node], moving: set[Node], equations: Iterable[Equation] = ()) -> None:
    """Writes what is costly in `roots` and does not depend on `moving`: the same in every pass, or for everybody."""
    nodes = dict.fromkeys(here for root in roots for here in root.walk())
    moving = set(moving)
    for here in nodes:
        if here.op == "fold" and not restricted(here) and not _serial(b, here.attrs.body):
            continue  # its indices are axes
        moving |= {x for attr in here.attrs if isinstance(attr, Loop | Fold | Lambda) for x in binds(attr, nodes)}
        moving |= {here} if here.role == "draw" and here not in b.names else set()
    still = {here for here in nodes if not moving & b.leaves(here)}
    whole = [child for here in nodes if here not in still for child in here.children if child in still]
    for child in dict.fromkeys((*whole, *(root for root in roots if root in still))):
        if child not in b.names and any(x.op in HEAVY for x in child.walk()):
            write(b, child, equations=equations)
            if child.op in HEAVY and child not in b.names and b.named(child) is None:
                _assign(b, child, "part", "")


def _item(b: Writer, here: Node) -> Text:
    whole, position = here.args[0], here.attrs.position
    if whole.op == "loop":
        if (whole, position) not in b.items:
            b.text(whole)
        variable = whole.attrs.body.variables[position]
        name = b.items[whole, position]
        if not here.args[1:]:
            return name, POST
        kept = dict(b.names)
        b.names[variable] = name
        table = dict(zip(variable.args, here.args[1:], strict=True))
        found = b._member(variable, {old: new for old, new in table.items() if old is not new})
        b.names.clear()
        b.names.update(kept)
        return found, POST
    return f"{b.code(whole, POST)}[{position}]", POST


# ---- operations whose arguments may be families


def _matmul(b: Writer, here: Node) -> Text:
    left, right = here.args
    if not (b.indices(left) or b.indices(right)):
        return WRITERS["matmul"](b, here)
    family = b.axes(here)[: len(b.indices(here))]
    x = aligned(b.code(left, POST), b.axes(left), (*family, *left.type.axes))
    y = aligned(b.code(right, POST), b.axes(right), (*family, *right.type.axes))
    match len(left.type.axes), len(right.type.axes):
        case 2, 2:
            return f"{x} @ {y}", PRODUCT
        case 2, 1:
            return f'torch.einsum("...ij,...j->...i", {x}, {y})', POST
        case 1, 2:
            return f'torch.einsum("...i,...ij->...j", {x}, {y})', POST
    return f"({x}*{y}).sum(-1)", POST


def _size(b: Writer, here: Node) -> Text:
    domain = here.args[0]
    if domain.type.any:
        return f"{b.code(domain, POST)}.numel()", POST
    if domain.type.kind == "set":
        return (f"len({b.code(domain)})" if domain.role == "draw" else b.sizes[domain.name]), POST
    return "*".join(b.sizes[axis] for axis in domain.type.axes) or "1", PRODUCT


def _select(b: Writer, here: Node) -> Text:
    condition, yes, no = here.args
    if not b.is_tensor(condition):
        return _branches(b, here)
    parts = [b.fitted(part, here) for part in (condition, yes, no)]
    if not b.is_tensor(yes) and not b.is_tensor(no):
        parts[1] = f"torch.as_tensor({parts[1]}, dtype=dtype, device=device)"
    return f"torch.where({', '.join(parts)})", POST


def _branches(b: Writer, here: Node) -> Text:
    """A choice by a number of the host: only the branch that is taken is computed, as an expression or as lines."""
    condition, yes, no = here.args
    plain = all(
        not any(x.op in ("loop", "fold", *QUESTIONS) for x in part.walk() if x not in b.names) for part in (yes, no)
    )
    if plain:
        return f"({_branch(b, here, yes)} if {b.code(condition)} else {_branch(b, here, no)})", POST
    name = b.fresh("chosen")
    for head, part in ((f"if {b.code(condition)}:", yes), ("else:", no)):
        inner = b.inner()
        b.lines.append(f"{b.indent}{head}")
        write(inner, part)
        b.lines.append(f"{inner.indent}{name} = {_branch(inner, here, part)}")
    b.names[here] = name
    return name, POST


def _branch(b: Writer, here: Node, part: Node) -> str:
    """One branch; a number becomes a tensor where the other branch is one."""
    text = b.fitted(part, here)
    if b.is_tensor(here) and not b.is_tensor(part) and part.type.kind in ("real", "int"):
        return f"torch.as_tensor({text}, dtype=dtype, device=device)"
    return text


def _norm(b: Writer, here: Node) -> Text:
    (operand,), order = here.args, here.attrs.order
    spelled = "torch.inf" if order is None else decimal(order)
    dim = _dim(here, operand)
    return f"torch.linalg.vector_norm({b.code(operand)}, {spelled}{', ' + dim if dim else ''})", POST


def _power(b: Writer, here: Node) -> Text:
    base, exponent = here.args
    if exponent.value == 2 and base.op == "norm" and base.attrs.order == 2 and b.named(base) is None:
        (operand,) = base.args
        return f"{b.code(operand, POST)}.square().sum({_dim(base, operand)})", POST
    return WRITERS["pow"](b, here)


def _dim(here: Node, operand: Node) -> str:
    if operand.type.any:
        return ""
    axes = here.attrs.axes or operand.type.axes
    places = [i - len(operand.type.axes) for i, axis in enumerate(operand.type.axes) if axis in axes] or [-1]
    return str(places[0]) if len(places) == 1 else str(tuple(places))


def _reduced(method: str) -> Write:
    def write(b: Writer, here: Node) -> Text:
        (operand,) = here.args
        return f"{b.code(operand, POST)}.{method}({_dim(here, operand)})", POST

    return write


def _keep_largest(b: Batched, here: Node) -> Text:
    entries, count = here.args
    most = f"float({b.code(count)})" if b.is_tensor(count) else b.code(count)
    return f"matrices.keep_largest([{b.code(entries)}], {most})[0]", POST


def _indicator(b: Writer, here: Node) -> Text:
    shape = ", ".join(b.sizes.get(axis, axis) for axis in here.type.axes)
    return f"asks.indicator({b.code(here.args[0])}, ({shape},), dtype, device)", POST


def _contains(b: Writer, here: Node) -> Text:
    elements, element = here.args
    if element.role != "index" or element not in b.bound:
        raise fail("E601", here.span, construct=f"`{infix(here)}` for all elements at once")
    return f"({b.code(element)} in {b.code(elements)})", POST


def _tuple(b: Batched, here: Node) -> Text:
    return f"({', '.join(b.code(arg) for arg in here.args)},)", POST


FAMILIES: dict[str, Write] = {
    "leaf": _leaf,
    "fold": _fold,
    "loop": _loop,
    "item": _item,
    "matmul": _matmul,
    "size": _size,
    "select": _select,
    "norm": _norm,
    "pow": _power,
    **{op: _reduced(op) for op in ("sum", "mean", "amax", "amin", "std")},
    "keep_largest": _keep_largest,
    "rank_of": lambda b, here: (f"matrices.rank_of([{b.code(here.args[0])}])[0]", POST),
    "tuple": _tuple,
    "contains": _contains,
    "range": lambda b, here: (f"range({b.code(here.args[0])}, {b.code(here.args[1])} + 1)", POST),
    "indicator": _indicator,
    "cis": lambda b, here: (f"torch.polar(torch.ones_like({b.code(here.args[0])}), {b.code(here.args[0])})"
                            if b.is_tensor(here.args[0]) else f"cmath.exp(1j*({b.code(here.args[0])}))", POST),
    "re": lambda b, here: (f"{b.code(here.args[0], POST)}.real", POST),
    **QUESTIONS,
}  # fmt: skip
