"""The degree of homogeneity of every value: how it scales when the objective and the parameter are scaled.

    unit = the exponents of a few symbols: `f/θ` for a gradient, `θ²/f` for SGD's learning rate, `θ` for Adam's

A sum has one unit, a product the product of the units, `√` half of it; `sign` and `unit` lose theirs, `exp` may not
have one. Units of hyperparameters and states are unknowns of these linear equations. A file may name units,
`hyper ε unit L/U`; then a contradiction is an error (E302), else it is a remark: not every published rule has units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from dotopt.compiler.analysis.interpretation import Interpretation
from dotopt.compiler.ir import Fold, Loop, Node, Program
from dotopt.compiler.ir.program import at_its_places
from dotopt.compiler.ops import OPERATIONS
from dotopt.compiler.ops.row import Powers
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Diagnostic, diagnostic
from dotopt.compiler.text.source import Span

Unit = Mapping[str, Fraction]  # symbol, or `?n` for an unknown, to exponent; zero exponents are left out

NUMBER: Unit = {}
ANY: Unit = {"*": Fraction(1)}  # 0, ∞, and what is not followed: fits everything
GUARD = Fraction(1, 10**4)  # constants below this keep a division from 0; nobody means their unit
SUPERSCRIPT = str.maketrans("0123456789-/", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻ᐟ")

@dataclass
class Units:
    """The units of one program: `of` a node, `named` a state, hyperparameter or equation.

    `conflicts` are sums without a unit.
    """

    program: Program
    declared: Mapping[str, Unit] = field(default_factory=dict)
    known: dict[str, Unit] = field(default_factory=dict)  # unknown to its value
    conflicts: list[tuple[Span | None, str, str]] = field(default_factory=list)
    names: dict[tuple[str, str], Unit] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self.nodes: Interpretation[Unit] = Interpretation(self._unit, {})

    def named(self, role: str, name: str) -> str:
        """The unit of a leaf in symbols; empty if nothing fixes it."""
        unit = self._solved(self.names[role, name]) if (role, name) in self.names else None
        return "" if unit is None or _unknown(unit) else show(unit)

    def of(self, node: Node) -> str:
        """The unit of a value of the program; empty if nothing fixes it."""
        unit = self._solved(self.nodes.known[node]) if node in self.nodes.known else None
        return "" if unit is None or _unknown(unit) else show(unit)

    # ---- equations between units ----

    def _fresh(self) -> Unit:
        self.count += 1
        return {f"?{self.count}": Fraction(1)}

    def _solved(self, unit: Unit) -> Unit:
        while any(symbol in self.known for symbol in unit):
            made: Unit = {}
            for symbol, power in unit.items():
                made = times(made, self.known[symbol], power) if symbol in self.known else times(made, {symbol: power})
            unit = made
        return unit

    def _equal(self, left: Unit, right: Unit, span: Span | None) -> Unit:
        """Make both the same; note a conflict if they cannot be."""
        if "*" in left or "*" in right:
            return right if "*" in left else left
        rest = self._solved(times(left, right, Fraction(-1)))
        unknown = next((symbol for symbol in rest if symbol.startswith("?")), None)
        if unknown is not None:
            others = {symbol: power for symbol, power in rest.items() if symbol != unknown}
            self.known[unknown] = {symbol: -power / rest[unknown] for symbol, power in others.items()}
        elif rest:
            self.conflicts.append((span, show(self._solved(left)), show(self._solved(right))))
        return left

    # ---- values ----

    def visit(self, root: Node) -> Unit:
        """The unit of `root`, its parts included."""
        return self.nodes.of(root)

    def _unit(self, here: Node, args: Sequence[Unit], run: Interpretation[Unit]) -> Unit:
        match here.op:
            case "leaf":
                return self._leaf(here)
            case "const":
                return ANY if here.value is not None and abs(here.value) < GUARD else NUMBER
            case "select":
                return self._equal(args[1], args[2], here.span)
            case "loop":
                return self._loop(here, args)
            case "item":
                return self._item(here)
            case "fold":
                body: Fold = here.attrs.body
                return NUMBER if body.kind == "argmax" else self.visit(body.body)
            case "oracle":
                return self._oracle(here, args)
        match OPERATIONS[here.op].degree:
            case Powers(powers) if args:
                made = NUMBER
                for arg, power in zip(args, powers, strict=False):
                    made = times(made, arg, Fraction(power))
                return made
            case "exponent":
                return self._power(here, args)
            case "alike":
                return self._equal(args[0], args[1], here.span)
            case "compared":
                self._equal(args[0], args[1], here.span)
                return NUMBER
            case "plain":
                for arg in args:
                    self._equal(NUMBER, arg, here.span)
                return NUMBER
            case "lost":
                return NUMBER
        return ANY

    def _leaf(self, here: Node) -> Unit:
        key = (here.role, here.name)
        if here.role in ("time", "option", "rank", "axis", "index", "const"):
            return NUMBER
        if key not in self.names:
            declared = self.declared.get(here.name)
            own = {here.name: Fraction(1)} if here.role == "param" else self._fresh()
            self.names[key] = own if declared is None else declared
        return self.names[key]

    def _power(self, here: Node, args: Sequence[Unit]) -> Unit:
        exponent = here.args[1].value
        if exponent is not None:
            return scaled(args[0], exponent)
        self._equal(NUMBER, args[1], here.span)
        return self._equal(NUMBER, args[0], here.span)

    def _loop(self, here: Node, args: Sequence[Unit]) -> Unit:
        body: Loop = here.attrs.body
        starts = args[len(args) - len(body.variables) :]
        for variable, start, next in zip(body.variables, starts, body.nexts, strict=True):
            mine = self.visit(variable)
            self._equal(mine, start, here.span)
            self._equal(mine, self.visit(next), next.span)
        return NUMBER

    def _item(self, here: Node) -> Unit:
        inner = here.args[0]
        if inner.op == "loop":
            return self.visit(inner.attrs.body.variables[here.attrs.position])
        return self.visit(inner.args[here.attrs.position]) if inner.op == "tuple" else ANY

    def _oracle(self, here: Node, args: Sequence[Unit]) -> Unit:
        asked = here.attrs
        value = self.declared.get(asked.name, {asked.name: Fraction(1)})
        points = args[asked.split[0] : sum(asked.split)]
        point = points[0] if points else NUMBER
        match asked.what:
            case "value":
                return value
            case "gradient":
                return times(value, point, Fraction(-1))
            case "hessian_vector":
                return times(times(value, point, Fraction(-2)), args[-1])
        return ANY


@at_its_places
def infer(program: Program, file: s.File | None = None) -> Units:
    """The units of `program`; `file` gives those that it names.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import Static, lower
    >>> library = Library()
    >>> units = infer(lower(library.file("Adam"), Static(options={"amsgrad": False, "decoupled": False}), library))
    >>> [units.named("hyper", name) for name in ("η", "ε", "β1")]
    ['θ', 'f/θ', '1']
    """
    units = Units(program, dict(_declared(file)) if file is not None else {})
    for param in program.params:
        leaf = next((here for root in program.roots for here in root.walk() if here.role == "param"), None)
        if leaf is not None and param.name in program.next:
            units._equal(units.visit(leaf), units.visit(program.next[param.name]), program.next[param.name].span)
    for state in program.states:
        mine = units.names.setdefault(("state", state.name), units.declared.get(state.name) or units._fresh())
        units._equal(mine, units.visit(state.start), state.start.span)
        if state.next is not None:
            units._equal(mine, units.visit(state.next), state.next.span)
    for root in (*program.outputs.values(), *(equation.node for equation in program.equations)):
        units.visit(root)
    return units


@at_its_places
def check(program: Program, file: s.File) -> tuple[Diagnostic, ...]:
    """E302 for each sum without a unit, if the file names units at all."""
    if not any(isinstance(node, s.Declaration) and node.unit is not None for node in file.statements):
        return ()
    conflicts = infer(program, file).conflicts
    return tuple(diagnostic("E302", span, left=left, right=right) for span, left, right in conflicts)


def _declared(file: s.File) -> Iterator[tuple[str, Unit]]:
    for statement in file.statements:
        if isinstance(statement, s.Declaration) and statement.unit is not None:
            yield statement.name, _read(statement.unit)


def _read(expression: s.Expression) -> Unit:
    match expression:
        case s.Name(name=name):
            return {name: Fraction(1)}
        case s.Binary(operator="*", left=left, right=right):
            return times(_read(left), _read(right))
        case s.Binary(operator="/", left=left, right=right):
            return times(_read(left), _read(right), Fraction(-1))
        case s.Binary(operator="^", left=left, right=s.Number(value=power)):
            return scaled(_read(left), power)
        case s.Unary(operator="√", operand=operand):
            return scaled(_read(operand), Fraction(1, 2))
    return NUMBER


# ---- the group of units -------------------------------------------------------------------------------------------


def times(left: Unit, right: Unit, power: Fraction = Fraction(1)) -> Unit:
    """`left * right^power`."""
    if "*" in left or "*" in right:
        return ANY if power else left
    made = dict(left)
    for symbol, exponent in right.items():
        made[symbol] = made.get(symbol, Fraction(0)) + power * exponent
        if not made[symbol]:
            del made[symbol]
    return made


def scaled(unit: Unit, power: Fraction) -> Unit:
    """`unit^power`."""
    return times(NUMBER, unit, power)


def show(unit: Unit) -> str:
    """The unit in symbols.

    >>> show({"f": Fraction(1), "θ": Fraction(-2)}), show({}), show({"θ": Fraction(-1)})
    ('f/θ²', '1', '1/θ')
    """
    above = "·".join(_symbol(symbol, power) for symbol, power in unit.items() if power > 0)
    below = "·".join(_symbol(symbol, -power) for symbol, power in unit.items() if power < 0)
    if not below:
        return above or "1"
    return f"{above or '1'}/{below if '·' not in below else f'({below})'}"


def _symbol(symbol: str, power: Fraction) -> str:
    if power == 1:
        return symbol
    return symbol + (str(power).translate(SUPERSCRIPT) if power.denominator == 1 else f"^({power})")


def _unknown(unit: Unit) -> bool:
    return any(symbol[0] in "?*" for symbol in unit)
