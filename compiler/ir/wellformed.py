"""What every graph and program must satisfy, as a table: an operation, a sentence, and the predicate that decides it.

Passes are held to it while `checking` is on; the tests turn it on.

    @after                # the result of the pass is checked …
    def simplify(root): …
    with checking(): …    # … in here
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from typing import ParamSpec, TypeVar

from dotopt.compiler.ir import COMPARISONS, REDUCTIONS, Fold, Lambda, Loop, Node, Program, node
from dotopt.compiler.ops import OPERATIONS
from dotopt.compiler.ops.types import Mismatch, Type

ROLES = frozenset(
    {"param", "state", "input", "hyper", "option", "const", "time", "axis", "rank", "draw", "loop", "index", "sample"}
    | {"set", "free", "function", "identity", "sequence"}
)
WRONG = (Mismatch, TypeError, KeyError, IndexError, AttributeError)  # what a rule for types raises on a wrong node
STATE_KINDS = frozenset({"constant", "first", "draw"})


class Malformed(AssertionError):
    """A graph or a program breaks a row of the table; the message is its sentence, and the node."""


@dataclass(frozen=True, slots=True)
class Row:
    """`sentence` must hold for every node whose operation is in `ops` (empty: every node)."""

    sentence: str
    holds: Callable[[Node], bool]
    ops: frozenset[str] = frozenset()


def _rebuilt(here: Node) -> bool:
    try:
        return node(here.op, *here.args, attrs=here.attrs) is here
    except WRONG:
        return False


def _typed(here: Node) -> bool:
    try:
        return OPERATIONS[here.op].type(here.args, here.attrs) == here.type
    except WRONG:
        return False


def _bool_or_any(type: Type) -> bool:
    return type.any or type.kind in ("bool", "int")


def _axes_of_argument(here: Node) -> bool:
    argument = here.args[0].type
    return argument.any or argument.kind in ("set", "list") or set(here.attrs.axes) <= set(argument.axes)


def _loop(here: Node) -> bool:
    body = here.attrs.body
    return (
        isinstance(body, Loop)
        and len(body.variables) == len(body.nexts) == len(here.args) - 1
        and all(variable.role == "loop" for variable in body.variables)
        and len(set(body.variables)) == len(body.variables)
    )


def _fold(here: Node) -> bool:
    body = here.attrs.body
    return isinstance(body, Fold) and bool(body.indices) and all(index.role == "index" for index in body.indices)


def _item(here: Node) -> bool:
    inner = here.args[0].type
    return inner.kind != "tuple" or bool(0 <= here.attrs.position < len(inner.items))


def _function(here: Node) -> bool:
    return isinstance(here.attrs.function, Lambda) and all(v.op == "leaf" for v in here.attrs.function.variables)


def _split(here: Node) -> bool:
    indices, points = here.attrs.split
    return bool(min(indices, points) >= 0 and indices + points <= len(here.args))


TABLE: tuple[Row, ...] = (
    Row("the operation is one of the table of operations", lambda here: here.op in OPERATIONS),
    Row("a node is the one node of its operation, arguments and attributes", _rebuilt),
    Row("the type is the one that the rule of the operation gives", _typed),
    Row(
        "it has as many attributes as the table says",
        lambda here: here.op not in OPERATIONS or isinstance(here.attrs, OPERATIONS[here.op].attributes),
    ),
    Row("a leaf has a known role and a name", lambda here: here.role in ROLES and bool(here.name), frozenset({"leaf"})),
    Row("a number is an exact fraction", lambda here: isinstance(here.attrs.value, Fraction), frozenset({"const"})),
    Row("a truth value is a bool", lambda here: isinstance(here.attrs.value, bool), frozenset({"bool"})),
    Row("a comparison gives a proposition", lambda here: here.type.kind == "bool", frozenset(COMPARISONS)),
    Row(
        "connectives take propositions",
        lambda here: all(_bool_or_any(arg.type) for arg in here.args),
        frozenset({"and", "or", "not"}),
    ),
    Row("a choice is made by a proposition", lambda here: _bool_or_any(here.args[0].type), frozenset({"select"})),
    Row("only axes of the argument are summed away", _axes_of_argument, frozenset({*REDUCTIONS, "size"})),
    Row(
        "a loop has one start and one next value for each of its variables, which are loop leaves",
        _loop,
        frozenset({"loop"}),
    ),
    Row("a fold binds at least one index", _fold, frozenset({"fold"})),
    Row("an item is one that the tuple has", _item, frozenset({"item"})),
    Row("indices and points of a question are among its arguments", _split, frozenset({"oracle", "apply"})),
    Row("an inner problem is about a function of leaves", _function, frozenset({"argmin", "root", "cg"})),
)


def check_node(root: Node) -> None:
    """Raises `Malformed` for the first node below `root` that breaks a row.

    >>> from dotopt.compiler.ir import leaf, number
    >>> check_node(node("add", leaf("free", "x"), number(1)))
    """
    for here in root.walk():
        for row in TABLE:
            if (not row.ops or here.op in row.ops) and not row.holds(here):
                raise Malformed(f"{row.sentence}: {here!r} ({here.op} : {here.type})")


def check(program: Program) -> None:
    """Raises `Malformed` for the first row that the program breaks: its nodes, then what holds for it as a whole."""
    named = {equation.node: None for equation in program.equations}
    for root in (*program.roots, *named):
        check_node(root)
    states = {(state.name, state.role) for state in program.states}
    leaves = {here for root in program.roots for here in root.walk() if here.op == "leaf"}
    known = {
        "param": {param.name for param in program.params},
        "state": {name for name, _ in states},
        "hyper": {hyper.name for hyper in program.hypers},
        "draw": {random.name for random in program.randoms},
        "input": {given.name for given in program.inputs},
    }
    for here in leaves:
        layer = here.role == "input" and here.name.startswith(("input_of(", "output_of("))
        if here.role in known and here.name not in known[here.role] and not layer and program.kind != "formula":
            raise Malformed(f"a {here.role} that is read is declared: {here!r}")
    if len(states) < len(program.states):
        raise Malformed(f"states have different names: {sorted(name for name, _ in states)}")
    for state in program.states:
        if state.kind not in STATE_KINDS:
            raise Malformed(f"a state starts with a constant, a first value or a draw: {state.name} {state.kind}")
        if state.next is not None and not _assignable(state.next.type, state.type):
            raise Malformed(f"the next value of {state.name} fits its type: {state.next.type} into {state.type}")
    for name, root in program.next.items():
        param = next((param for param in program.params if param.name == name), None)
        if param is None or not _assignable(root.type, param.type):
            raise Malformed(f"what moves is a parameter, and fits it: {name} : {root.type}")
    free = {here for root in program.next.values() for here in _free_loop_variables(root)}
    if free:
        raise Malformed(f"variables of a loop stay inside it: {sorted(here.name for here in free)}")


def _assignable(value: Type, declared: Type) -> bool:
    return value.any or declared.any or value.kind in ("list", "set") or set(value.axes) <= set(declared.axes)


def _free_loop_variables(root: Node) -> set[Node]:
    bound = {
        variable.name
        for here in root.walk()
        for attr in here.attrs
        if isinstance(attr, Loop)
        for variable in attr.variables
    }
    return {here for here in root.walk() if here.role == "loop" and here.name not in bound}


# ---- after every pass -----------------------------------------------------------------------------------------------

_CHECKING: ContextVar[bool] = ContextVar("checking", default=False)
Given = ParamSpec("Given")
Result = TypeVar("Result", bound="Program | Node | Sequence[Node]")


@contextmanager
def checking() -> Iterator[None]:
    """Inside, the results of passes wrapped by `after` are checked."""
    token = _CHECKING.set(True)
    try:
        yield
    finally:
        _CHECKING.reset(token)


def after(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """The pass `function`; what it returns is checked while `checking` is on."""

    @functools.wraps(function)
    def checked(*args: Given.args, **options: Given.kwargs) -> Result:
        result = function(*args, **options)
        if _CHECKING.get():
            if isinstance(result, Program):
                check(result)
            else:
                for root in [result] if isinstance(result, Node) else result:
                    check_node(root)
        return result

    return checked
