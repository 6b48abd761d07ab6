"""The tree of a `.opt` file as written: frozen nodes, each with the place it came from.

    file        = File(docstring, head, statements)
    head        = Rule | Composition | Transform | Theorem | Formula
    statement   = Declaration | Definition | Draw | When | Iterate | Role | Claim | ...
    expression  = Number | Name | Call | Index | Binary | Compare | Conditional | Cases | ...
    type        = Array | Like | ListOf

Spans stand outside equality, so that two files that say the same compare equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from fractions import Fraction

from dotopt.compiler.text.source import Span


@dataclass(frozen=True, slots=True)
class Syntax:
    """What every node has: its place in the text."""

    span: Span = field(compare=False, repr=False)

    def children(self) -> Iterator[Syntax]:
        """The nodes directly below, in the order of the text."""
        for name in _parts(type(self)):
            yield from _nodes(getattr(self, name))

    def walk(self) -> Iterator[Syntax]:
        """This node and all below it."""
        yield self
        for child in self.children():
            yield from child.walk()


_PARTS: dict[type, tuple[str, ...]] = {}


def _parts(kind: type[Syntax]) -> tuple[str, ...]:
    if kind not in _PARTS:
        _PARTS[kind] = tuple(entry.name for entry in fields(kind) if entry.name != "span")
    return _PARTS[kind]


def _nodes(value: object) -> Iterator[Syntax]:
    if isinstance(value, Syntax):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)


# ---- expressions ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expression(Syntax):
    """Anything with a value."""


@dataclass(frozen=True, slots=True)
class Number(Expression):
    """An exact decimal."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Infinity(Expression):
    """`∞`."""


@dataclass(frozen=True, slots=True)
class Boolean(Expression):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, slots=True)
class Name(Expression):
    """A name, in its canonical spelling; `primed` for the value after the step."""

    name: str
    primed: bool = False


@dataclass(frozen=True, slots=True)
class Index(Expression):
    """`x[i]`, `m[t - 1]`: an index of a family, a time, or the order of a norm."""

    base: Expression
    indices: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Member(Expression):
    """`B.lr`: a hyperparameter or an output of the base rule."""

    base: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Keyword(Syntax):
    """`name=value` in a call."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Call(Expression):
    """`f(x, y; ξ, lr=h)`: arguments, samples after the semicolon, and keywords of either part."""

    function: Expression
    arguments: tuple[Expression, ...]
    samples: tuple[Expression, ...] = ()
    keywords: tuple[Keyword, ...] = ()


@dataclass(frozen=True, slots=True)
class Comprehension(Expression):
    """`e for i in S if c`, only inside a reduction."""

    body: Expression
    names: tuple[str, ...]
    domain: Expression | None
    condition: Expression | None


@dataclass(frozen=True, slots=True)
class Window(Expression):
    """`e over last C`, only inside a reduction."""

    body: Expression
    length: Expression


@dataclass(frozen=True, slots=True)
class Gradient(Expression):
    """`∇f`, `∇_x f`, `∇²f`: a function, to be called."""

    function: Expression
    argument: str | None
    order: int = 1


@dataclass(frozen=True, slots=True)
class Conjugate(Expression):
    """`K^*`: the convex conjugate of a function."""

    function: Expression


@dataclass(frozen=True, slots=True)
class Transpose(Expression):
    """`Xᵀ`."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class Unary(Expression):
    """`operator` is `-`, `not`, `√` or `|` (the absolute value)."""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Norm(Expression):
    """`‖x‖`; its order, if written, is an `Index` around it."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary(Expression):
    """`operator` is one of `+ - * / @ ^ and or`."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Compare(Expression):
    """A chain: `0 <= a <= 1` has three operands and two operators."""

    operators: tuple[str, ...]
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Conditional(Expression):
    """`a if c else b`."""

    condition: Expression
    then: Expression
    otherwise: Expression


@dataclass(frozen=True, slots=True)
class Case(Syntax):
    """One line of `cases`; no condition means `otherwise`."""

    value: Expression
    condition: Expression | None


@dataclass(frozen=True, slots=True)
class Cases(Expression):
    """`cases`: the first line whose condition holds."""

    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Range(Expression):
    """`a..b`, both ends included."""

    first: Expression
    last: Expression


@dataclass(frozen=True, slots=True)
class Sequence(Expression):
    """`(a, b)`, `[a, b]` or `{a, b}`; `kind` is `tuple`, `list` or `set`."""

    kind: str
    items: tuple[Expression, ...]


# ---- types, bounds ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TypeSyntax(Syntax):
    """A declared type."""


@dataclass(frozen=True, slots=True)
class Axis(Syntax):
    """`rows`, `cols...` (merged with all that follow), `...` (name `…`), or a fixed size."""

    name: str
    merged: bool = False


@dataclass(frozen=True, slots=True)
class Array(TypeSyntax):
    """`real[rows, cols]`; without axes a scalar."""

    kind: str
    axes: tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class Like(TypeSyntax):
    """`like θ`."""

    name: str
    indices: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class ListOf(TypeSyntax):
    """`list[int]`."""

    kind: str


@dataclass(frozen=True, slots=True)
class Bounds(Syntax):
    """An interval; `None` is unbounded. `open_low` and `open_high` say which ends are excluded."""

    low: Expression | None
    high: Expression | None
    open_low: bool = False
    open_high: bool = False


@dataclass(frozen=True, slots=True)
class Choices(Syntax):
    """`in {a, b}`: the values of an option."""

    values: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class IndexName(Syntax):
    """`i in tasks` in a declaration: the index, and the set that it introduces or runs over."""

    name: str
    domain: Expression | None


# ---- statements ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Statement(Syntax):
    """A line, or a block of lines."""


@dataclass(frozen=True, slots=True)
class SourceNote(Statement):
    """`source "arXiv:…"`."""

    reference: str


@dataclass(frozen=True, slots=True)
class Imported(Syntax):
    """`a as c` in `use`."""

    name: str
    local: str


@dataclass(frozen=True, slots=True)
class Use(Statement):
    """`use a, b as c`."""

    names: tuple[Imported, ...]


@dataclass(frozen=True, slots=True)
class Property(Syntax):
    """`convex`, `smooth(L)`."""

    name: str
    arguments: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Declaration(Statement):
    """`word name …` for every declaration word: param, objective, operator, function, input, output, hyper, option,
    const, state, base. Fields that the word does not have stay empty."""

    word: str
    name: str
    name_span: Span = field(compare=False, repr=False)
    indices: tuple[IndexName, ...] = ()
    alias: str | None = None
    alias_index: int | None = None
    type: TypeSyntax | None = None
    bounds: Bounds | Choices | None = None
    unit: Expression | None = None
    arguments: tuple[str, ...] | None = None
    samples: tuple[str, ...] = ()
    properties: tuple[Property, ...] = ()
    value: Expression | None = None
    value_kind: str = "constant"  # how `value` is meant: constant | first | draw
    ranks: tuple[int, ...] = ()  # the numbers of axes that a parameter may have; empty: all that fit the type


@dataclass(frozen=True, slots=True)
class Phase(Syntax):
    """`every C from a otherwise o`."""

    period: Expression
    start: Expression | None
    otherwise: Expression | None


@dataclass(frozen=True, slots=True)
class Definition(Statement):
    """`targets = value`, with its type, phase, family range and `where` lines."""

    targets: tuple[Expression, ...]
    value: Expression
    type: TypeSyntax | None = None
    phase: Phase | None = None
    family: IndexName | None = None
    where: tuple[Definition, ...] = ()


@dataclass(frozen=True, slots=True)
class Draw(Statement):
    """`x : type ~ law`."""

    targets: tuple[Expression, ...]
    law: Expression
    type: TypeSyntax | None = None


@dataclass(frozen=True, slots=True)
class Evaluation(Statement):
    """`eval θ = e`."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Message(Statement):
    """`send Δ = e` or `broadcast a = e`; `word` says which."""

    word: str
    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class When(Statement):
    """`when x is T:` or `when c:`, and `otherwise:`."""

    condition: Expression
    type: TypeSyntax | None
    body: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class LoopVariable(Syntax):
    """`X from A` in `iterate`."""

    name: str
    indices: tuple[IndexName, ...]
    type: TypeSyntax | None
    start: Expression


@dataclass(frozen=True, slots=True)
class Iterate(Statement):
    """`iterate X from A repeat n:`; exactly one of `count`, `until` (with `most`) and `index` is there."""

    variables: tuple[LoopVariable, ...]
    body: tuple[Statement, ...]
    count: Expression | None = None
    until: Expression | None = None
    most: Expression | None = None
    index: IndexName | None = None


@dataclass(frozen=True, slots=True)
class Role(Statement):
    """`role client[i in clients] if i in S:`."""

    name: str
    indices: tuple[IndexName, ...]
    condition: Expression | None
    body: tuple[Statement, ...]


# ---- claims -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quantified(Syntax):
    """One name of `for all`."""

    name: str
    indices: tuple[IndexName, ...] = ()
    type: TypeSyntax | None = None
    bounds: Bounds | Choices | None = None


@dataclass(frozen=True, slots=True)
class ForAll(Statement):
    """`for all a : type, b > 0`."""

    names: tuple[Quantified, ...]


@dataclass(frozen=True, slots=True)
class Given(Statement):
    """`given c`."""

    condition: Expression


@dataclass(frozen=True, slots=True)
class Map(Syntax):
    """`g -> c*g`."""

    old: Expression
    new: Expression


@dataclass(frozen=True, slots=True)
class Naming(Syntax):
    """`a = e` after `with` and `matching`."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Goal(Syntax):
    """What `show` and `refute` state."""


@dataclass(frozen=True, slots=True)
class Holds(Goal):
    """A boolean, at one step or `for all steps`."""

    condition: Expression
    all_steps: bool = False


@dataclass(frozen=True, slots=True)
class Becomes(Goal):
    """`X -> Y under maps`; `E invariant under maps` is `E -> E under maps`."""

    old: Expression
    new: Expression
    maps: tuple[Map, ...]
    invariant: bool = False


@dataclass(frozen=True, slots=True)
class Equivalent(Goal):
    """`equivalent to R with … matching … when c`; `reduces` if that word was written."""

    rule: Expression
    bindings: tuple[Naming, ...] = ()
    matching: tuple[Naming, ...] = ()
    condition: Expression | None = None
    reduces: bool = False


@dataclass(frozen=True, slots=True)
class Stable(Goal):
    """`[strictly] stable [exactly] for c`."""

    condition: Expression
    exactly: bool = False
    strictly: bool = False


@dataclass(frozen=True, slots=True)
class Show(Statement):
    """`show goal`, or `refute goal`."""

    goal: Goal
    refute: bool = False


@dataclass(frozen=True, slots=True)
class Derive(Statement):
    """`derive a, b`."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flow(Statement):
    """`flow`: time is continuous in this claim."""


@dataclass(frozen=True, slots=True)
class Precision(Statement):
    """`in bf16`."""

    name: str


@dataclass(frozen=True, slots=True)
class By(Statement):
    """`by M(…)`."""

    methods: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Claim(Statement):
    """`claim name:` and its clauses."""

    name: str
    body: tuple[Statement, ...]


# ---- the file -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameter(Syntax):
    """One parameter of a formula."""

    name: str
    type: TypeSyntax | None = None
    bounds: Bounds | Choices | None = None
    default: Expression | None = None


@dataclass(frozen=True, slots=True)
class Head(Syntax):
    """The head line: `word` is rule, composition, transform, theorem or formula."""

    word: str
    name: str
    parameters: tuple[Parameter, ...] = ()
    properties: tuple[Property, ...] = ()
    value: Expression | None = None


@dataclass(frozen=True, slots=True)
class File(Syntax):
    """A whole file."""

    docstring: str | None
    head: Head
    statements: tuple[Statement, ...]

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims of the file, those inside loops and other blocks included, in its order."""
        return tuple(claim for claim, _ in self.placed_claims)

    @property
    def placed_claims(self) -> tuple[tuple[Claim, tuple[Statement, ...]], ...]:
        """Every claim with the blocks around it, the outermost first."""
        return tuple(_placed(self.statements, ()))


def _placed(
    statements: tuple[Statement, ...], around: tuple[Statement, ...]
) -> Iterator[tuple[Claim, tuple[Statement, ...]]]:
    for statement in statements:
        match statement:
            case Claim():
                yield statement, around
            case When(body=body, otherwise=otherwise):
                yield from _placed((*body, *otherwise), (*around, statement))
            case Iterate(body=body) | Role(body=body):
                yield from _placed(body, (*around, statement))
