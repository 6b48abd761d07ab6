"""Random statements of every kind, and rules made of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from bench.fuzz.rules import Rule, Statement
from bench.fuzz.terms import Scope, Term, drawn

VIEWS = ("...", "...", "...", "rows, cols...", "rows, cols...", "rows, cols", "..., rows, cols", "n")
PLAIN = ("m", "v", "u", "a", "b", "h", "r", "w", "z", "y", "k", "p", "q", "β", "μ", "σ", "γ", "ρ", "κ", "τ", "δ", "m̂")
# words of C, Python, torch, Triton, and of the text that is generated
HOSTILE = (
    "INFINITY", "NAN", "M_PI", "BLOCK", "PIECE", "WIDTH", "NULL", "s0", "s1", "s2", "q0", "s0_all", "params", "group",
    "torch", "math", "self", "i", "j", "c", "tensor", "tensors", "data", "out", "m_next", "x_next", "vhat", "scale",
    "host", "given", "cls", "closure", "step", "loss", "backend", "row", "piece", "start", "stop_", "begin",
    "end", "block", "int", "float", "double", "char", "register", "range", "list", "len", "tl", "triton", "inside",
    "power", "errno", "signgam", "y0", "j1", "scalars", "foreach", "states", "hypers", "t0", "g0", "A", "X", "B", "I2",
    "None_", "lerp", "mul", "k_2", "u_2", "yield_", "print", "struct", "extern", "restrict", "exp_", "key", "seed",
)  # fmt: skip
STARTS = ("0", "0", "0.5", "1", "first {}", "first {}")


@dataclass
class _Writer:
    """A rule in the making: what has a name so far."""

    rng: Random
    scope: Scope
    free: list[str]
    statements: list[Statement] = field(default_factory=list)
    files: list[tuple[str, str]] = field(default_factory=list)

    def name(self) -> str:
        """A name that is not taken."""
        return self.free.pop()

    def term(self, kind: str, depth: int | None = None) -> Term:
        """A random term."""
        return drawn(self.rng, self.scope, kind, self.rng.choice((1, 2, 2, 3)) if depth is None else depth)

    def add(self, form: str, *terms: Term, kind: str = "", names: tuple[str, ...] = ()) -> None:
        """A statement, and the names that later ones may read."""
        self.statements.append(Statement(form, terms, tuple((name, kind) for name in names)))
        if kind:
            self.scope = self.scope.reading(kind, *names)

    def primed(self, kind: str, name: str) -> None:
        """That the next value may be read too."""
        self.scope = self.scope.reading(kind, f"{name}'")


def random_rule(rng: Random) -> Rule:
    """A rule; most of it is legal."""
    view = rng.choice(VIEWS)
    hostile = rng.random() < 0.35
    free = rng.sample(HOSTILE, len(HOSTILE)) if hostile else rng.sample(PLAIN, len(PLAIN))
    names = {"entry": ("x", "g", "g"), "group": ("η", "t")}
    writer = _Writer(rng, Scope(names, view, model=rng.random() < 0.35), free)
    writer.add("g = ∇f(x)", kind="entry", names=())
    for _ in range(rng.choice((0, 1, 1, 2))):
        _hyperparameter(writer)
    kinds = [rng.choice(STATEMENTS) for _ in range(rng.choice((1, 2, 2, 3, 3, 4, 5)))]
    for make in kinds:
        make(writer)
    last = _last(writer)
    rest = writer.statements
    if rng.random() < 0.3:
        rest = rng.sample(rest, len(rest))  # the order of lines means nothing
    around = rng.choice(AROUND) if rng.random() < 0.07 else ""
    head = f"rule Drawn\nobjective f\nparam x : real[{view}]\nhyper η as lr >= 0 = 0.1"
    return Rule(head, tuple(rest), last, tuple(writer.files), around)


AROUND = (
    "Lookahead(Drawn, k=2)", "EMA(Drawn)", "ClipNorm(Drawn)", "ClipValue(Drawn)", "DecoupledDecay(Drawn)", "SWA(Drawn)",
    "WarmUp(Drawn)", "Centralised(Drawn)", "Lookahead(ClipValue(Drawn), k=3)", "ClipNorm(Centralised(Drawn))",
)  # fmt: skip


def _last(writer: _Writer) -> Statement:
    move = writer.term("entry", writer.rng.choice((1, 2, 3)))
    form = writer.rng.choice(
        ("x' = x - η*{}", "x' = x - η*{}", "x' = (1 - 0.1*η)*x - η*clip({}, -9, 9)", "x' = x - η*(g + {})",
         "x' = cases\n  x - η*{}  if t > 2\n  x - η*g   otherwise", "x' = x - η*{} every 2 otherwise x - η*g",
         "x' = x - η*{0}*q_\n  where q_ = 1/(1 + t)")
    )  # fmt: skip
    return Statement(form, (move,))


def _hyperparameter(writer: _Writer) -> None:
    rng, name = writer.rng, writer.name()
    form = rng.choice(
        ("hyper {} in [0, 1) = 0.9", "hyper {} = -0.5", "hyper {} : int > 0 = 3", "const {} = 0.25", "option {} = true",
         "hyper {} >= 0 = η", "option {} in {{{{first_kind, second_kind}}}} = second_kind")
    )  # fmt: skip
    text = form.format(name)
    if "option" in text:
        condition = f"{name} == second_kind" if "kind" in text else name
        writer.add(text, kind="choice", names=(condition,))
    else:
        writer.add(text, kind="group", names=(name,))


NEXTS = (
    "{n}' = 0.9*{n} + {{}}", "{n}' = 0.5*{n} + 0.5*{{}}", "{n}' = clip({n} + {{}}, -9, 9)", "{n}' = max({n}, {{}})",
    "{n}' = {{}}", "{n}' = 0.7*{n} + {{}} every 2", "{n}' = 0.5*{n} + {{}} every 3 from 1",
    "{n}' = {{}} every 2 otherwise 0.5*{n}", "{n}' = {{}} if t == 1 else 0.5*{n} + {{}}",
    "{n}' = cases\n  0.5*{n} + {{}}  if t > 2\n  0.5*{n}      otherwise",
)  # fmt: skip


def _state(writer: _Writer) -> None:
    """A state of any kind, with its start and its equation."""
    rng, name = writer.rng, writer.name()
    kind = rng.choice(("entry", "entry", *writer.scope.kinds))
    type_ = {"entry": "like x", "group": "real", "tensor": "real", "rows": "real[rows]", "cols": "real[cols]"}[kind]
    start = rng.choice(STARTS)
    head = f"state {name} : {type_} = {start}\n"
    terms = [writer.term(kind, 1)] if "{}" in start else []
    writer.scope = writer.scope.reading(kind, name)
    form = rng.choice(NEXTS).format(n=name)
    terms += [writer.term(kind) for _ in range(form.count("{}"))]
    writer.statements.append(Statement(head + form, tuple(terms), ((name, kind),)))
    writer.primed(kind, name)


def _definition(writer: _Writer) -> None:
    name = writer.name()
    kind = writer.rng.choice(("entry", "entry", *writer.scope.kinds))
    form = f"{name} = {{}}"
    if writer.scope.names.get("choice") and writer.rng.random() < 0.5:
        form = f"{name} = {{}} if {writer.rng.choice(writer.scope.names['choice'])} else {{}}"
    terms = tuple(writer.term(kind) for _ in range(form.count("{}")))
    writer.add(form, *terms, kind=kind, names=(name,))


def _cases(writer: _Writer) -> None:
    name = writer.name()
    condition = writer.rng.choice((" > 0.3", " <= 0", " == 0", " > 0 and t > 1"))
    terms = [writer.term("entry", 1), writer.term(writer.rng.choice(writer.scope.kinds), 1), writer.term("entry", 1)]
    writer.add(f"{name} = cases\n  {{}}  if {{}}{condition}\n  {{}}  otherwise", *terms, kind="entry", names=(name,))


def _loop(writer: _Writer) -> None:
    """One or two variables, which may read each other after the pass."""
    rng, one, two = writer.rng, writer.name(), writer.name()
    kind = rng.choice(("entry", "entry", "tensor"))
    count = rng.choice(("2", "3", "1"))
    starts = [writer.term(kind, 1), writer.term(kind, 1)]
    outer = writer.scope
    if rng.random() < 0.5:
        writer.scope = replace(outer.reading(kind, one, one), model=False)
        body = [writer.term(kind, 2)]
        form = f"iterate {one} from {{}} repeat {count}:\n  {one}' = clip({{}}, -9, 9)"
        starts = starts[:1]
        names: tuple[str, ...] = (one,)
    else:
        writer.scope = replace(outer.reading(kind, one, two), model=False)
        body = [writer.term(kind, 1)]
        writer.scope = writer.scope.reading(kind, f"{one}'")
        body.append(writer.term(kind, 2))
        form = (
            f"iterate {one} from {{}}, {two} from {{}} repeat {count}:\n"
            f"  {one}' = clip({{}}, -9, 9)\n  {two}' = clip({{}}, -9, 9)"
        )
        names = one, two
    writer.scope = outer
    writer.add(form, *starts, *body, kind=kind, names=names)


def _function(writer: _Writer) -> None:
    name, result = writer.name(), writer.name()
    outer = writer.scope
    inner = Scope({"entry": ("a_", "b_", "a_"), "group": ("0.5", "η", "t")}, outer.view, model=False)
    body = drawn(writer.rng, inner, "entry", 2)
    call = [writer.term("entry", 1), writer.term("entry", 1)]
    writer.add(f"{name}(a_, b_) = {{}}\n{result} = {name}({{}}, {{}})", body, *call, kind="entry", names=(result,))


def _formula(writer: _Writer) -> None:
    """A formula in a file of its own, whose names are those of the rule."""
    rng = writer.rng
    if any(name == "clash" for name, _ in writer.files):
        return
    names = [name for kind in ("entry",) for name in writer.scope.names[kind] if name.isidentifier()]
    local = rng.choice([*names, writer.name()])
    one = local if local not in ("x", "g") else f"{local}1"
    scope = Scope({"entry": ("x", "g", one), "group": ("0.5",)}, "...", model=False)
    body = drawn(rng, scope, "entry", 2)
    first = drawn(rng, Scope({"entry": ("x", "g"), "group": ("2",)}, "...", model=False), "entry", 2)
    lines = f"{one} = {first.text}\n"
    if rng.random() < 0.3:
        lines = f"iterate {one} from x repeat 2:\n  {one}' = clip({first.text}, -9, 9)\n"
    writer.files.append(("clash", f"formula clash(x : real[...], g : real[...]) = {body.text}\n{lines}"))
    writer.statements.insert(0, Statement("use clash"))
    result = writer.name()
    terms = writer.term("entry", 1), writer.term("entry", 1)
    writer.add(f"{result} = clash({{}}, {{}})", *terms, kind="entry", names=(result,))


def _library(writer: _Writer) -> None:
    """A formula of the library, whose locals are called A, X, n, …"""
    rng, result = writer.rng, writer.name()
    choices = [("softplus", "softplus({})"), ("huber", "huber({})*{}"), ("pseudo_huber", "0.1*pseudo_huber({})*{}")]
    if writer.scope.matrices:
        choices += [("newton_schulz", "newton_schulz({}, 2)"), ("newton_schulz3", "newton_schulz3({}, 2)")] * 2
    used, form = rng.choice(choices)
    if not any(s.form == f"use {used}" for s in writer.statements):
        writer.statements.insert(0, Statement(f"use {used}"))
    terms = [writer.term("entry", 1) for _ in range(form.count("{}"))]
    writer.add(f"{result} = {form}", *terms, kind="entry", names=(result,))


def _draw(writer: _Writer) -> None:
    name = writer.name()
    law = writer.rng.choice(("normal(0, 1)", "uniform(-1, 1)", "rademacher()", "bernoulli(0.5)"))
    kind = writer.rng.choice(("entry", "entry", "group"))
    form = f"{name} : like x ~ {law}" if kind == "entry" else f"{name} ~ {law}"
    writer.add(form, kind=kind, names=(name,))


def _window(writer: _Writer) -> None:
    name = writer.name()
    word = writer.rng.choice(("sum", "mean"))
    form = f"state {name} : like x = 0\n{name}' = {word}({{}} over last 2) every 2"
    writer.add(form, writer.term("entry", 1), kind="entry", names=(name,))


def _elsewhere(writer: _Writer) -> None:
    """The gradient at another point."""
    name = writer.name()
    writer.add(f"{name} = ∇f(x + 0.1*{{}})", writer.term("entry", 1), kind="entry", names=(name,))


def _by_shape(writer: _Writer) -> None:
    if writer.scope.view != "...":
        return _definition(writer)
    name = writer.name()
    form = (
        f"when x is real[..., rows, cols]:\n  {name} = {{}} - mean(g, over=cols)\notherwise:\n  {name} = {{}}"
        if writer.rng.random() < 0.5
        else f"{name} = {{}} if rank(x) >= 2 else {{}}"
    )
    return writer.add(form, writer.term("entry", 1), writer.term("entry", 1), kind="entry", names=(name,))


STATEMENTS = (
    _state, _state, _state, _state, _definition, _definition, _definition, _cases, _loop, _loop, _function, _formula,
    _library, _draw, _window, _elsewhere, _by_shape,
)  # fmt: skip
