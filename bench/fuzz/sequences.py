"""Random rules over sequences: memories of every recurrence, learned starts, gates, factors, frozen copies, windows."""

from __future__ import annotations

from random import Random

from bench.fuzz.rules import Rule, Statement
from bench.fuzz.terms import Term

NAMES = (
    "M", "S", "P", "H", "N", "Z", "R", "W", "G", "E", "m", "h", "n", "z", "r", "p", "s", "u", "e", "y", "X", "B",
    "I2", "state2", "chunk", "keep", "later", "first_", "inputs", "lead", "T", "scan", "Chunks", "Term", "torch",
    "block", "M_chunks", "M_next", "self", "parts", "out", "length", "tokens", "k2", "q_", "decay", "gate", "reads",
    "lambda_", "i",
)  # fmt: skip
# inputs by what they are: numbers with a range, vectors, matrices; `key` and `value` are the names of two axes
INPUTS = {
    "number": ("α in [0, 1]", "β in [0, 1]", "γ in [0, 1]", "θ >= 0"),
    "key": ("k : real[dk]", "q : real[dk]"),
    "value": ("v : real[dv]", "b : real[dv]"),
    "matrix": ("w : real[dv, dk]", "A : real[dv, dk]"),
}
# one productions table a kind: a form, and the kinds of its parts ("c": a written number)
FORMS = {
    "number": (
        ("{}*{}", "number number"), ("(1 - {})", "number"), ("sigmoid({})", "number"),
        ("0.5*({} + {})", "number number"), ("dot({}, {})", "key key"), ("tanh(dot({}, {}))", "value value"),
        ("(1/(1 + ‖{}‖))", "key"), ("exp(-|{}|)", "number"), ("(1/(1 + t))", ""),
        ("({} if t > 3 else {})", "number number"), ("max({})", "value"), ("min({}, {})", "number number"),
        ("({} if {} > {} else {})", "number number number number"),
    ),
    "key": (
        ("({} + {})", "key key"), ("{}*{}", "number key"), ("({}/(1 + ‖{}‖))", "key key"), ("tanh({})", "key"),
        ("relu({})", "key"), ("0.5*(({})ᵀ @ {})", "matrix value"), ("sigmoid({})", "key"), ("({}*{})", "key key"),
    ),
    "value": (
        ("({} - {})", "value value"), ("{}*{}", "number value"), ("0.5*({} @ {})", "matrix key"),
        ("tanh({})", "value"), ("sigmoid({})", "value"), ("({}*{})", "value value"),
        ("({}/(1 + ‖{}‖))", "value value"),
    ),
    "matrix": (
        ("outer({}, {})", "value key"), ("({} + {})", "matrix matrix"), ("{}*{}", "number matrix"),
        ("0.5*tanh({})", "matrix"), ("newton_schulz({}, 2)", "matrix"),
        ("0.3*(({0}) @ (({0})ᵀ @ ({1})))", "matrix matrix"), ("({} - mean({}, over=dk))", "matrix matrix"),
    ),
}  # fmt: skip
AXES = {"number": "real", "key": "real[dk]", "value": "real[dv]", "matrix": "real[dv, dk]"}
# M is the memory, N another one of its kind; the others are terms
MATRIX_MOVES = (
    ("{M}' = {M} + {{}}", "step"), ("{M}' = {{}}*{M} + {{}}", "gate step"),
    ("{M}' = (1 - {{}})*{M} + {{}}", "gate step"), ("{M}' = {M} - {{}}*outer({M} @ k - {{}}, k)", "gate value"),
    ("{M}' = {{}}*{M} - β*outer({M} @ k, k) + {{}}", "gate step"),
    ("{M}' = {{}}*({M} - β*outer({M} @ k, k)) + outer(v, k)", "gate"),
    ("L_(S_) = ½*‖S_ @ k - {{}}‖²\n{M}' = {M} - β*∇L_({M})", "value"),
    ("L_(S_) = ½*‖S_ @ k - v‖²\n{M}' = {{}}*{M} - β*∇L_({{}}*{M})", "gate gate"),
    ("{M}' = {M} - outer({{}}, ({M})ᵀ @ {{}}) + {{}}", "small unit step"), ("{M}' = {M}*{{}} + {{}}", "keygate step"),
    ("{M}' = {{}}*{M} + {{}}", "valuegate step"), ("{M}' = {{}}*{M}*{{}} + {{}}", "valuegate keygate step"),
    ("{M}' = 0.5*tanh({M}) + {{}}", "step"), ("{M}' = 0.5*tanh({M}) + newton_schulz({{}}, 2)", "matrix"),
    ("{M}' = {{}}*{M} + {{}}*{N}", "gate gate"), ("{M}' = {M} - {{}}*({N} @ outer(k, k))", "gate"),
    ("{M}' = {{}}*{M} + sum({{}}*outer(v, k) over last 3)", "gate gate"), ("{M}' = {{}} every {C}", "step"),
    ("{M}' = {{}}*{M} + {{}} every {C}", "gate step"), ("{M}' = {M} - {{}}*{M} @ outer(k, k) + {{}}", "gate step"),
    ("{M}' = max({M}, {{}})", "step"), ("{M}' = {{}}*{M} + {{}} if t > 2 else {{}}", "gate step step"),
)  # fmt: skip
SMALL_MOVES = (
    ("{M}' = {{}}*{M} + {{}}", "gate same"), ("{M}' = {M} + {{}}", "same"), ("{M}' = {{}}", "same"),
    ("{M}' = tanh({M} + {{}})", "same"), ("{M}' = (1 - {{}})*{M} + {{}}", "gate same"),
    ("{M}' = max(0.9*{M}, {{}})", "same"), ("{M}' = {{}} every {C}", "same"),
    ("{M}' = {{}}*{M} + {{}} every {C} from 1", "gate same"),
)  # fmt: skip
STARTS = ("0", "0", "first {}", "first {}", "1", "0.5", "~ normal(0, 1)")


class Writer:
    """A rule in the making: names by kind, and how much has been read."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.names = {kind: [text.split()[0] for text in given] for kind, given in INPUTS.items()}
        self.free = rng.sample(NAMES, len(NAMES))
        self.period = str(rng.choice((1, 2, 3, 4, 5)))
        self.statements: list[Statement] = []

    def term(self, kind: str, depth: int) -> Term:
        """A random term of a kind, or of one of the words of the tables of moves."""
        rng = self.rng
        match kind:
            case "gate":
                plain = Term(rng.choice(("α", "β", "γ", "0.9")), "number")
                return self.term("number", 1) if rng.random() < 0.4 else plain
            case "keygate":
                return Term("sigmoid({})", "key", (self.term("key", depth - 1),))
            case "valuegate":
                return Term("sigmoid({})", "value", (self.term("value", depth - 1),))
            case "small":
                return Term("0.5*({}/(1 + ‖{}‖))", "value", (Term("v", "value"), Term("v", "value")))
            case "unit":
                return Term("({}/(1 + ‖{}‖))", "value", (Term("v", "value"), Term("v", "value")))
            case "step" if rng.random() < 0.6:
                return Term("outer({}, {})", "matrix", (self.term("value", depth - 1), self.term("key", depth - 1)))
            case "step":
                return self.term("matrix", depth)
        if depth <= 0 or rng.random() < 0.35:
            return Term(rng.choice(self.names[kind]), kind)
        form, kinds = rng.choice(FORMS[kind])
        return Term(form, kind, tuple(self.term(part, depth - 1) for part in kinds.split()))

    def memory(self) -> None:
        """A state of some kind with its start and its equation."""
        rng, name = self.rng, self.free.pop()
        kind = rng.choice(("matrix", "matrix", "matrix", "key", "value", "number"))
        start = rng.choice(STARTS)
        if kind == "number" and start.startswith("~"):
            start = "0"
        head = f"state {name} : {AXES[kind]} {start if start.startswith('~') else '= ' + start}\n"
        terms = [self.term(kind, rng.choice((0, 0, 1)))] if "{}" in start else []
        others = [other for other in self.names[kind] if other not in {t.split()[0] for t in INPUTS[kind]}]
        move, words = rng.choice(MATRIX_MOVES if kind == "matrix" else SMALL_MOVES)
        form = move.format(M=name, N=rng.choice(others) if others else "w", C=self.period)
        form = form.replace("L_", f"L_{name}")
        if rng.random() < 0.3:
            self.names[kind].append(name)
        terms += [self.term(kind if word == "same" else word, 2) for word in words.split()]
        self.statements.append(Statement(head + form, tuple(terms), ((name, kind),)))
        self.names[kind] += [name, f"{name}'"] if name not in self.names[kind] else [f"{name}'"]

    def frozen(self) -> None:
        """A copy of a memory as it was when the chunk began."""
        made = [s.defines[0] for s in self.statements if s.defines]
        if not made:
            return self.memory()
        (of, kind), name = self.rng.choice(made), self.free.pop()
        start = self.rng.choice((f"first {of}", f"first {of}", "0"))
        form = f"state {name} : {AXES[kind]} = {start}\n{name}' = {of}' every {self.period}"
        self.statements.append(Statement(form, (), ((name, kind),)))
        self.names[kind] += [name, f"{name}'"]
        return None

    def frozen_step(self) -> None:
        """A memory whose gradients are taken where the chunk began."""
        memory, copy = self.free.pop(), self.free.pop()
        start = self.rng.choice(("0", "first w", "first outer(v, k)"))
        inner = self.rng.choice(("{P} @ k", "tanh({P} @ k)", "{P} @ (k + 0.1*(({P})ᵀ @ ({P} @ k)))")).format(P=copy)
        form = (
            f"state {memory} : real[dv, dk] = {start}\nstate {copy} : real[dv, dk] = first {memory}\n"
            f"{memory}' = {{}}*{memory} - 0.3*outer({inner} - {{}}, k)\n{copy}' = {memory}' every {self.period}"
        )
        terms = self.term("gate", 1), self.term("value", 1)
        self.statements.append(Statement(form, terms, ((memory, "matrix"), (copy, "matrix"))))
        self.names["matrix"] += [memory, f"{memory}'", copy]

    def definition(self) -> None:
        """A name for a term."""
        kind, name = self.rng.choice(("key", "value", "number", "matrix")), self.free.pop()
        self.statements.append(Statement(f"{name} = {{}}", (self.term(kind, 2),), ((name, kind),)))
        self.names[kind].append(name)


def random_rule(rng: Random) -> Rule:
    """A rule with one to four states and one or two outputs."""
    writer = Writer(rng)
    makes = (writer.memory, writer.memory, writer.memory, writer.frozen, writer.frozen_step, writer.definition)
    writer.memory()
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        rng.choice(makes)()
    made = [(name, kind) for s in writer.statements if "state" in s.form for name, kind in s.defines[:1]]
    reads = []
    for name, kind in made[-2:]:
        prime = rng.choice(("'", "'", ""))
        vector = {"matrix": f"{name}{prime} @ q", "value": f"{name}{prime}", "key": f"{name}{prime}"}
        reads.append(vector.get(kind, f"{name}{prime}"))
    last = [f"output o{k + 1}\no{k + 1} = {read}" for k, read in enumerate(reads)]
    inputs = "".join(f"input {text}\n" for given in INPUTS.values() for text in given)
    return Rule(f"rule Drawn\n{inputs}use newton_schulz\n", tuple(writer.statements), Statement("\n".join(last)))
