"""Random sentences about numbers and vectors: what the engine says of them, against numbers of an evaluator of its own.

    python -m bench.fuzz.sentences [COUNT [SEED]]

A sentence is a law that everybody knows with random terms in it, changed a little more often than not, or two random
terms. What is proved and fails for some numbers, or is refuted and fails for none, is printed; the first must not be.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dotopt.compiler.parse import parse
from dotopt.compiler.prove import ClaimReport, check_claim
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source

HEAD = "theorem Random\nfor all a, b, c, p > 0, q > 0, x : real[d], y : real[d], z : real[d]\n\nclaim it:\n"
SPECIAL = (0, 1, -1, 2, -2, 0.5, -0.5, 3, 10, -10, 1e-3, -1e-3, 100, -100, 0.1, 0.9)
TRIALS = 2000
TOLERANCE = 1e-7  # of the larger side: what rounding may do to either
Point = dict[str, Any]


@dataclass(frozen=True)
class Term:
    """A term as text and as a function of numbers for its names; a vector or a number."""

    text: str
    value: Callable[[Point], Any]
    vector: bool = False

    def __add__(self, other: Term | float) -> Term:
        return combined("({} + {})", np.add, self, term(other))

    def __sub__(self, other: Term | float) -> Term:
        return combined("({} - {})", np.subtract, self, term(other))

    def __mul__(self, other: Term | float) -> Term:
        return combined("{}*{}", np.multiply, self, term(other))

    def __truediv__(self, other: Term | float) -> Term:
        return combined("{}/({})", np.divide, self, term(other))

    def __pow__(self, power: int) -> Term:
        return combined("(({})^{})", np.power, self, Term(str(power), lambda at: power))


def term(x: Term | float) -> Term:
    """A number as a term."""
    return x if isinstance(x, Term) else Term(f"{x:g}", lambda at: x)


def combined(form: str, function: Callable[..., Any], *args: Term, vector: bool | None = None) -> Term:
    """A function of terms; a vector if one of them is, unless it is said."""
    return Term(
        form.format(*(a.text for a in args)),
        lambda at: function(*(a.value(at) for a in args)),
        any(a.vector for a in args) if vector is None else vector,
    )


def _function(form: str, function: Callable[..., Any], vector: bool | None = None) -> Callable[..., Term]:
    return lambda *args: combined(form, function, *map(term, args), vector=vector)


larger, smaller = _function("max({}, {})", np.maximum), _function("min({}, {})", np.minimum)
size, sign = _function("abs({})", np.abs), _function("sign({})", np.sign)
root, exponential = _function("sqrt({})", np.sqrt), _function("exp({})", np.exp)
logarithm, tanh = _function("log({})", np.log), _function("tanh({})", np.tanh)
dot = _function("dot({}, {})", lambda x, y: np.sum(x * y), False)
norm = _function("norm({})", lambda x: np.sqrt(np.sum(x * x)), False)
total, mean = _function("sum({})", np.sum, False), _function("mean({})", np.mean, False)
most, count = _function("max({})", np.max, False), _function("size({})", np.size, False)
clip = _function("clip({0}, -{1}, {1})", lambda x, c: np.clip(x, -c, c))
choice = _function("({2} if {0} <= {1} else {3})", lambda a, b, x, y: np.where(a <= b, x, y))

A, B, C, P, Q = (Term(n, lambda at, n=n: at[n]) for n in "abcpq")  # type: ignore[misc]
X, Y, Z = (Term(n, lambda at, n=n: at[n], True) for n in "xyz")  # type: ignore[misc]

Sentence = tuple[Term, str, Term]
LAWS: tuple[Callable[[Term, Term, Term, Term], Sentence], ...] = (
    lambda s, t, u, v: (s * t, "<=", (s**2 + t**2) / 2),
    lambda s, t, u, v: (size(s + t), "<=", size(s) + size(t)),
    lambda s, t, u, v: (size(s) - size(t), "<=", size(s - t)),
    lambda s, t, u, v: (larger(s, t) * smaller(s, t), "==", s * t),
    lambda s, t, u, v: (larger(s, t), ">=", (s + t) / 2),
    lambda s, t, u, v: (size(larger(s, C) - larger(t, C)), "<=", size(s - t)),
    lambda s, t, u, v: (s**2 / P + t**2 / Q, ">=", (s + t) ** 2 / (P + Q)),
    lambda s, t, u, v: (sign(s) * s, "==", size(s)),
    lambda s, t, u, v: (clip(s, P), "==", larger(P * -1, smaller(s, P))),
    lambda s, t, u, v: (root(s**2 + t**2), "<=", size(s) + size(t)),
    lambda s, t, u, v: (root(P * Q), "<=", (P + Q) / 2),
    lambda s, t, u, v: (P**3 + Q**3, ">=", P**2 * Q + P * Q**2),
    lambda s, t, u, v: (exponential(s), ">=", s + 1),
    lambda s, t, u, v: (logarithm(P), "<=", P - 1),
    lambda s, t, u, v: (logarithm(P * Q), "==", logarithm(P) + logarithm(Q)),
    lambda s, t, u, v: (size(tanh(s)), "<=", size(s)),
    lambda s, t, u, v: (dot(u, v), "<=", norm(u) * norm(v)),
    lambda s, t, u, v: (norm(u + v), "<=", norm(u) + norm(v)),
    lambda s, t, u, v: (norm(u - v) ** 2, "==", norm(u) ** 2 - dot(u, v) * 2 + norm(v) ** 2),
    lambda s, t, u, v: (total(u) ** 2, "<=", count(u) * total(u * u)),
    lambda s, t, u, v: (mean(u) ** 2, "<=", mean(u * u)),
    lambda s, t, u, v: (norm(u), "<=", total(size(u))),
    lambda s, t, u, v: (most(size(u)), "<=", norm(u)),
    lambda s, t, u, v: (norm(u) ** 2, "<=", count(u) * most(size(u)) ** 2),
    lambda s, t, u, v: (total(size(u * v)), ">=", size(total(u * v))),
    lambda s, t, u, v: (total(larger(u, v)), ">=", larger(total(u), total(v))),
    lambda s, t, u, v: (norm(clip(u, P)), "<=", norm(u)),
    lambda s, t, u, v: (norm(u / larger(1, norm(u))), "<=", term(1)),
    lambda s, t, u, v: (norm(P * u + Q * v), "<=", P * norm(u) + Q * norm(v)),
)
NUMBERS: tuple[tuple[str, Callable[..., Term]], ...] = (
    *(("ss", f) for f in (Term.__add__, Term.__sub__, Term.__mul__, larger, smaller)),
    *(("s", f) for f in (size, sign, lambda s: s**2, lambda s: s / P, lambda s: clip(s, Q))),
    *(("v", f) for f in (norm, total, mean, lambda v: most(size(v)))),
    *(("vv", f) for f in (dot,)),
    ("ssss", choice),
)
VECTORS: tuple[tuple[str, Callable[..., Term]], ...] = (
    *(("vv", f) for f in (Term.__add__, Term.__sub__, Term.__mul__, larger)),
    *(("v", f) for f in (size, sign, lambda v: clip(v, P))),
    ("sv", Term.__mul__),
)
# a premise, whether numbers meet it, and how they are made to
PREMISES: dict[str, tuple[Callable[[Point], Any], Callable[[Point], Point]]] = {
    "a >= 0": (lambda at: at["a"] >= 0, lambda at: {"a": abs(at["a"])}),
    "a <= b": (lambda at: at["a"] <= at["b"], lambda at: {"a": min(at["a"], at["b"]), "b": max(at["a"], at["b"])}),
    "|a| <= p": (lambda at: abs(at["a"]) <= at["p"], lambda at: {"a": float(np.clip(at["a"], -at["p"], at["p"]))}),
    "0 <= a <= 1": (lambda at: 0 <= at["a"] <= 1, lambda at: {"a": min(1.0, abs(at["a"]))}),
    "p <= q": (lambda at: at["p"] <= at["q"], lambda at: {"p": min(at["p"], at["q"]), "q": max(at["p"], at["q"])}),
    "p > 1": (lambda at: at["p"] > 1, lambda at: {"p": 1 + at["p"]}),
    "q == p^2": (lambda at: at["q"] == at["p"] ** 2, lambda at: {"q": at["p"] ** 2}),
    "c == a*b": (lambda at: at["c"] == at["a"] * at["b"], lambda at: {"c": at["a"] * at["b"]}),
    "a == b": (lambda at: at["a"] == at["b"], lambda at: {"b": at["a"]}),
    "norm(x) <= 1": (lambda at: norm(X).value(at) <= 1, lambda at: {"x": at["x"] / max(1.0, 1.01 * norm(X).value(at))}),
    "x >= 0": (lambda at: np.all(at["x"] >= 0), lambda at: {"x": np.abs(at["x"])}),
}


def drawn(rng: random.Random, vector: bool, depth: int) -> Term:
    """A random term."""
    if depth == 0 or rng.random() < 0.2:
        return rng.choice((X, Y, Z) if vector else (A, B, C, P, Q, term(rng.choice((0, 1, 2, 0.5)))))
    kinds, function = rng.choice(VECTORS if vector else NUMBERS)
    return function(*(drawn(rng, kind == "v", depth - 1) for kind in kinds))


def changed(rng: random.Random, sentence: Sentence) -> Sentence:
    """A sentence that is probably false, if this one is true and sharp."""
    left, relation, right = sentence
    little = term(rng.choice((0.125, 0.01))) * rng.choice((term(1), P))
    match rng.randrange(5):
        case 0:
            return left + little, relation, right
        case 1:
            return left - little, relation, right
        case 2:
            return left * rng.choice((2.0, 0.9, 1.1)), relation, right
        case 3:
            return left, relation.rstrip("=") if relation != "==" else "<=", right
        case _:
            return right, relation, left


def sentences(rng: random.Random) -> Iterator[tuple[list[str], Sentence]]:
    """Premises and sentences, without end."""
    while True:
        premises = rng.sample(sorted(PREMISES), rng.choice((0, 0, 0, 1, 1, 2)))
        if rng.random() < 0.3:
            relation = rng.choice(("<=", ">=", "==", "<"))
            yield premises, (drawn(rng, False, 2), relation, drawn(rng, False, 2))
            continue
        depth = rng.choice((0, 0, 1, 1, 2))
        sentence = rng.choice(LAWS)(*(drawn(rng, vector, depth) for vector in (False, False, True, True)))
        yield premises, changed(rng, sentence) if rng.random() < 0.6 else sentence


def point(rng: random.Random, premises: list[str]) -> Point:
    """Numbers that meet the premises."""

    def number() -> float:
        return float(rng.choice(SPECIAL)) if rng.random() < 0.55 else rng.gauss(0, 1) * 10 ** rng.uniform(-2, 2)

    d = rng.choice((1, 2, 2, 3))
    at: Point = {n: number() for n in "abc"} | {n: abs(number()) or 1.0 for n in "pq"}
    at |= {n: np.array([number() for _ in range(d)]) for n in "xyz"}
    at["y"] = rng.choice((at["y"], at["y"], at["y"], at["x"].copy(), -at["x"], 0 * at["y"]))
    for premise in premises:
        at |= PREMISES[premise][1](at)
    return at if all(PREMISES[premise][0](at) for premise in premises) else point(rng, premises[::-1])


def failure(sentence: Sentence, premises: list[str], rng: random.Random) -> Point | None:
    """Numbers for which the sentence plainly fails."""
    for _ in range(TRIALS):
        at = point(rng, premises)
        gap = _gap(sentence, at)
        if gap > 0 and _gap(sentence, {name: np.longdouble(x) for name, x in at.items()}) > gap / 2:
            return at  # what fails by rounding alone fails by less with more digits
    return None


def _gap(sentence: Sentence, at: Point) -> float:
    """By how much the sentence fails; 0 where it holds, is too close to tell, or a side has no value."""
    left, relation, right = sentence
    with np.errstate(all="ignore"):
        low, high = left.value(at), right.value(at)
        gap = np.max({"<": low - high, ">": high - low, "=": abs(low - high)}[relation[0]])
    if not np.isfinite(gap):
        return 0.0
    if relation in ("<", ">") and low == high and not any(f in left.text for f in ("exp", "tanh")):
        return 1.0
    return float(gap) if gap > TOLERANCE * max(1e-6, np.max(np.abs(low)), np.max(np.abs(high))) else 0.0


def tried(count: int, seed: int = 0) -> Iterator[tuple[str, ClaimReport, Point | None]]:
    """Random claims, what the engine says, and numbers for which they fail."""
    rng = random.Random(seed)
    stream = sentences(rng)
    for _ in range(count):
        premises, (left, relation, right) = next(stream)
        lines = [*(f"  given {p}\n" for p in premises), f"  show {left.text} {relation} {right.text}\n"]
        file = parse(Source("random.opt", HEAD + "".join(lines)))
        report = check_claim(file, file.claims[0], Library())
        yield "".join(lines), report, failure((left, relation, right), premises, rng)


def main() -> int:
    """Prints what disagrees; 1 if something false was proved."""
    count, seed = ([int(word) for word in sys.argv[1:]] + [500, 0][len(sys.argv) - 1 :])[:2]
    statuses: Counter[str] = Counter()
    wrong = 0
    for text, report, fails in tried(count, seed):
        statuses[report.status + (" though false" if report.status == "open" and fails else "")] += 1
        if report.status == "proved" and fails is not None:
            wrong += 1
            print(f"proved, and false:\n{text}{fails}")
        elif report.status in ("refuted", "vacuous") and fails is None:
            print(f"{report.status}, and no numbers say so:\n{text}{report.counterexample}")
        elif report.status == "open":
            print(f"open:\n{text}  {report.reason}")
    print(dict(statuses))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
