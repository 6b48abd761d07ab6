"""Random expressions as trees. A kind says for what there is one number: so which terms may meet.

    group    all tensors: hyperparameters, t, sums over the model        rows, cols    each row, each column of a tensor
    tensor   each tensor: its sums, its sizes                  entry         each entry

What is generated stays finite and within some orders of magnitude: denominators, logarithms and roots are kept away
from where they have no value, powers are of clipped terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

MEETS = {
    "group": ("group",), "tensor": ("tensor", "group"), "rows": ("rows", "tensor", "group"),
    "cols": ("cols", "tensor", "group"), "entry": ("entry", "entry", "rows", "cols", "tensor", "group"),
}  # fmt: skip


LEAVES = {"key": ("k",), "value": ("v",), "matrix": ("w",), "number": ("0.5", "β")}  # of rules over sequences


@dataclass(frozen=True)
class Term:
    """`form` with the texts of `args` in it."""

    form: str
    kind: str
    args: tuple[Term, ...] = ()

    @property
    def text(self) -> str:
        """As it stands in a file."""
        return self.form.format(*(arg.text for arg in self.args)) if self.args else self.form

    @property
    def size(self) -> int:
        """How many parts it has."""
        return 1 + sum(arg.size for arg in self.args)

    def replaced(self, old: str, new: str) -> Term:
        """With another leaf."""
        if not self.args:
            return replace(self, form=new) if self.form == old else self
        return replace(self, args=tuple(arg.replaced(old, new) for arg in self.args))

    def smaller(self) -> Iterator[Term]:
        """Terms in its place that say less."""
        if self.args:
            yield from (arg for arg in self.args if arg.kind == self.kind)
            yield from (arg for arg in self.args if arg.kind != self.kind)
            for place, arg in enumerate(self.args):
                for less in arg.smaller():
                    yield replace(self, args=(*self.args[:place], less, *self.args[place + 1 :]))
        elif self.form not in (plain := {"entry": ("g",), **LEAVES}.get(self.kind, ("1",))):
            yield replace(self, form=plain[0])


# of every kind: "=" stands for a term of that kind, "<" for one that it meets, "c" and "n" for numbers
ENTRYWISE = (
    ("({} + {})", "=<"), ("({} - {})", "=<"), ("{}*{}", "=<"), ("({}*{} + {}*{})", "=<=<"), ("(-{})", "="),
    ("({}/(|{}| + {}))", "=<c"), ("({}/({} + ({})²))", "=c<"), ("(1/({} + ({})²))", "c="), ("|{}|", "="),
    ("sign({})", "="), ("relu({})", "="), ("tanh({})", "="), ("sigmoid({})", "="), ("gelu({})", "="), ("sin({})", "="),
    ("cos({})", "="), ("erf({})", "="), ("floor(3*{})", "="), ("ceil({}/{})", "=c"), ("exp(-|{}|)", "="),
    ("exp(clip({}, -2, 2))", "="), ("log(1 + |{}|)", "="), ("sqrt(|{}| + {})", "=c"), ("√(1 + ({})²)", "="),
    ("atanh(0.9*tanh({}))", "="), ("acos(0.9*tanh({}))", "="), ("({} - {}*floor({}/{}))", "=c=c"),
    ("clip({}, -2, 2)^{}", "=n"), ("(|{}| + 0.1)^{}", "=c"), ("(1 + |{}|)^-{}", "=n"), ("({})²", "="),
    ("max({}, {})", "=<"), ("min({}, {})", "=<"), ("max({}, {})", "=c"), ("max({}, {}, {})", "=<c"),
    ("clip({}, -{}, {})", "=cc"), ("clip({}, -{}, |{}|)", "=c<"), ("({} if {} > {} else {})", "=<<="),
    ("({} if {} > {} and {} <= {} else {})", "=<c<<<"), ("({} if {} > {} or {} < {} else {})", "=<<<c<"),
    ("({} if not {} >= {} else {})", "=<<<"), ("{}*({} > {})", "=<<"), ("({} if {} == {} else {})", "=<<<"),
    ("({} > {}) + {}", "<<="), ("({} if {} != 0 and ({} > 0 or {} > 0) else -{})", "=<<<="), ("stop({})", "="),
)  # fmt: skip
NUMBERS = ("0.1", "0.5", "0.3", "2", "3", "1", "0.7", "1.5", "10", "0.01", "1/3", "0.9", "1e-3", "π")
WHOLE = ("2", "3", "4", "5", "1", "7", "0.5", "1.5")
# what entries, rows and columns are reduced to
OF_ENTRIES = (
    ("0.1*sum({})", "e"), ("mean({})", "e"), ("max({})", "e"), ("min({})", "e"), ("norm({})", "e"), ("‖{}‖[1]", "e"),
    ("‖{}‖[∞]", "e"), ("rms({})", "e"), ("clip(std({}), -9, 9)", "e"), ("0.1*dot({}, {})", "ee"), ("‖{} - {}‖", "ee"),
    ("size({})", "e"),
)  # fmt: skip
OVER_AXES = ("sum", "mean", "max", "min", "norm", "rms")
OVER_MODEL = ("0.1*sum({}, over=model)", "max({}, over=model)", "norm({}, over=model)", "mean({}, over=model)")


@dataclass(frozen=True)
class Scope:
    """What may be read: names by kind. `view` says which axes there are; with `model` there are sums over the model."""

    names: Mapping[str, Sequence[str]]
    view: str
    model: bool = True
    calls: tuple[tuple[str, str], ...] = ()  # functions of entries: form, kinds of the arguments

    @property
    def matrices(self) -> bool:
        """Whether rows and columns have names."""
        return "rows" in self.view

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of terms that there are; rows and columns of a stack have none of these."""
        return tuple(MEETS) if self.matrices and "..., " not in self.view else ("group", "tensor", "entry")

    def reading(self, kind: str, *names: str) -> Scope:
        """With more names."""
        return replace(self, names={**self.names, kind: (*self.names.get(kind, ()), *names)})


def drawn(rng: Random, scope: Scope, kind: str, depth: int) -> Term:
    """A random term of this kind."""
    if depth <= 0 or rng.random() < 0.12:
        return _leaf(rng, scope, kind, depth)
    choice = rng.random()
    if kind == "entry" and scope.calls and choice < 0.08:
        form, kinds = rng.choice(scope.calls)
        return Term(form, kind, tuple(drawn(rng, scope, "entry" if k == "e" else "group", depth - 1) for k in kinds))
    if kind == "entry" and scope.matrices and choice < 0.12:
        return _products(rng, scope, depth)
    if kind != "entry" and choice < 0.5:
        return _reduced(rng, scope, kind, depth)
    form, kinds = rng.choice(ENTRYWISE)
    return Term(form, kind, tuple(_argument(rng, scope, kind, k, depth - 1) for k in kinds))


def _argument(rng: Random, scope: Scope, kind: str, letter: str, depth: int) -> Term:
    match letter:
        case "c":
            return Term(rng.choice(NUMBERS), "group")
        case "n":
            return Term(rng.choice(WHOLE), "group")
        case "<":
            kinds = [k for k in MEETS[kind] if k in scope.kinds]
            return drawn(rng, scope, rng.choice(kinds), depth - rng.choice((0, 1)))
        case _:
            return drawn(rng, scope, kind, depth)


def _leaf(rng: Random, scope: Scope, kind: str, depth: int) -> Term:
    names = scope.names.get(kind, ())
    if names and (kind == "entry" or rng.random() < 0.8):
        return Term(rng.choice(names), kind)
    if kind in ("group", "tensor"):
        return Term(rng.choice(NUMBERS), "group")
    return _reduced(rng, scope, kind, max(depth, 1))


def _reduced(rng: Random, scope: Scope, kind: str, depth: int) -> Term:
    """A sum or the like that leaves a number for each of this kind."""

    def inner() -> Term:
        return drawn(rng, scope, "entry", depth - 1)

    match kind:
        case "group" if scope.model and rng.random() < 0.5:
            return Term(rng.choice(OVER_MODEL), kind, (inner(),))
        case "group":
            form, kinds = rng.choice(ENTRYWISE)
            return Term(form, kind, tuple(_argument(rng, scope, kind, k, min(depth - 1, 1)) for k in kinds))
        case "tensor" if scope.matrices and "..., " not in scope.view and rng.random() < 0.3:
            side = rng.choice(("rows", "cols"))
            word = rng.choice(OVER_AXES)
            return Term(f"{word}({{}}, over={side})", kind, (drawn(rng, scope, side, depth - 1),))
        case "tensor":
            form, kinds = rng.choice(OF_ENTRIES)
            return Term(form, kind, tuple(inner() for _ in kinds))
        case _:
            other = "cols" if kind == "rows" else "rows"
            how = rng.choice((f"over={other}", f"per={kind}"))
            return Term(f"{rng.choice(OVER_AXES)}({{}}, {how})", kind, (inner(),))


def _products(rng: Random, scope: Scope, depth: int) -> Term:
    """Matrix products and sums over one side, which leave a matrix."""

    def inner() -> Term:
        return drawn(rng, scope, "entry", depth - 1)

    forms: list[tuple[str, int]] = [
        ("0.1*(({}) @ ({})ᵀ @ ({}))", 3), ("0.1*(({0}) @ ({0})ᵀ @ ({0}))", 1),
        ("(({0}) @ (({1})ᵀ @ ({0}))/(1 + ‖{0}‖²))", 2),
        ("({} - mean({}, over=rows))", 2), ("({} - mean({}, over=cols))", 2), ("{}*max({}, over=rows)", 2),
        ("({}/(1 + norm({}, over=cols)))", 2), ("({}/(1 + norm({}, over=rows)))", 2),
    ]  # fmt: skip
    if "..., " not in scope.view:
        forms += [
            ("outer(mean({}, over=cols), mean({}, over=rows))", 2), ("({}/(1 + std({}, over=rows)))", 2),
            ("(solve(({0}) @ ({0})ᵀ + I, {1}))", 2), ("({}*{} - {}*{})", 4),
            ("(({0})ᵀ @ ({0}) @ ({1})ᵀ)ᵀ", 2), ("trace(({0}) @ ({1})ᵀ)*{1}", 2),
        ]  # fmt: skip
    form, count = rng.choice(forms)
    return Term(form, "entry", tuple(inner() for _ in range(count)))
