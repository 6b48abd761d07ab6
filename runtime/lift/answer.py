"""What `dotopt lift` says of a class: the file, whether it is the class, and which rule of the library it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import torch

from dotopt.compiler.text.errors import OptError
from dotopt.grammar.files import file_name
from dotopt.runtime.lift import verify
from dotopt.runtime.lift.lift import Lifted, lift
from dotopt.runtime.lift.verify import EXACT, Difference, Proof

SHAPES = {"real[...]": ((5,), (4, 3), (2, 3, 2, 2)), "real[rows, cols]": ((4, 3), (2, 5)), "one": ((5,), (4,)),
          "two": ((5,), (4, 3))}  # fmt: skip


@dataclass(frozen=True)
class Relation:
    """A rule of the library beside the class. `how`: proof, replay, or different."""

    rule: str
    how: str
    where: str = ""
    difference: Difference | None = None


@dataclass(frozen=True)
class Answer:
    """The rule of a class and what was found out. `apart` is the largest difference of the replay."""

    lifted: Lifted
    proof: Proof
    apart: float
    difference: Difference | None
    relations: tuple[Relation, ...]

    @property
    def status(self) -> str:
        """proved, replayed or different."""
        if self.difference is not None or self.apart > tolerance(self.lifted) or self.proof.different:
            return "different"
        return "proved" if self.proof.proved else "replayed"


def compiled(text: str, name: str) -> Any:
    """The class of a text."""
    import dotopt

    with tempfile.TemporaryDirectory() as folder:
        path = File(folder) / f"{file_name(name)}.opt"
        path.write_text(text, encoding="utf-8")
        module = dotopt.load(path)
    return getattr(module, name)


def answer(
    cls: type[torch.optim.Optimizer], path: str = "", against: Any = None, relate: bool = True, proofs: bool = True
) -> Answer:
    """Lift, prove, replay, and compare with the library; raises `Refused` where the class cannot be lifted."""
    lifted = lift(cls, path)
    proof = verify.prove(lifted)
    ours = compiled(lifted.text, lifted.name)
    apart, at = verify.worst_of(lifted, ours, shapes_of(lifted))
    difference = None
    if apart > tolerance(lifted):
        left, right = verify.makers(lifted, ours)
        difference = verify.smallest(lifted, left, right, [at or {}, *verify.settings_of(lifted)])
    relations: tuple[Relation, ...] = ()
    if against is not None:
        relations = (_related(lifted, against, against.__name__),)
    elif relate:
        relations = tuple(related(lifted, proofs))
    return Answer(lifted, proof, apart, difference, relations)


def tolerance(lifted: Lifted) -> float:
    """How exact a replay must be: less where the class rounds to a narrower format."""
    return 1e-4 if lifted.notes else EXACT


def shapes_of(lifted: Lifted) -> tuple[tuple[int, ...], ...]:
    """Shapes of tensors for a replay: those for which the rule was traced."""
    ranks = set(lifted.recovered)
    if 1 not in ranks:
        return SHAPES["real[rows, cols]"]
    if 4 in ranks:
        return SHAPES["real[...]"]
    return SHAPES["two"] if 2 in ranks else SHAPES["one"]


# ---- the library -----------------------------------------------------------------------------------------------------


def related(lifted: Lifted, proofs: bool = True) -> Iterator[Relation]:
    """The rule of the library that is the class; else one with its name, or with its states and knobs, that is not."""
    from dotopt.runtime.loading.catalogue import entries
    from dotopt.runtime.loading.load import stdlib

    mine = {k.key for _, body in _bodies(lifted) for k in body.states}
    used = {k.keyword for k in lifted.constructor.knobs if any(k.leaf in r.used for r in lifted.recovered.values())}
    near: list[Relation] = []
    own = file_name(lifted.name)
    for entry in sorted(entries(), key=lambda e: file_name(e.name) != own):
        if entry.family != "optimizers":
            continue
        try:
            other = stdlib(entry.name)
        except (OptError, AttributeError):
            continue
        rule = getattr(other, "rule", None)
        if rule is None:
            continue
        theirs = {h.keyword for h in rule.hypers}
        called = file_name(entry.name) == file_name(lifted.name)
        missing = used - theirs - {o.keyword for o in rule.options}
        states = {s.key for step in rule.steps.values() for s in step.states}
        if not called and (len(missing) > 2 or not (mine <= states or states <= mine)):
            continue
        try:
            found = _related(lifted, other, rule.name, proofs)
        except Exception:
            continue
        if found.how != "different":
            yield found
            return
        if called or (theirs == used and states == mine):
            near.append(found)
    yield from near[:1]


def _bodies(lifted: Lifted) -> Iterator[tuple[int, Any]]:
    for rank, recovered in lifted.recovered.items():
        yield rank, recovered.body


def _related(lifted: Lifted, other: Any, name: str, proofs: bool = True) -> Relation:
    """Whether a compiled rule is the class, with what it does not know at its defaults."""
    left, right = verify.makers(lifted, other)
    known = {h.keyword for h in other.rule.hypers} | {o.keyword for o in other.rule.options}
    used = [k for k in lifted.constructor.knobs if any(k.leaf in r.used for r in lifted.recovered.values())]
    held = {k.name: k.default for k in used if k.keyword not in known}
    where = ", ".join(f"{k} = {_shown(v)}" for k, v in held.items())
    settings = [{**s, **held} for s in verify.settings_of(lifted)]
    compared = 0
    for i, setting in enumerate(settings):
        try:
            apart = verify.replay(left, right, setting, shapes_of(lifted), seed=i)
            compared += 1
        except (ValueError, RuntimeError, TypeError):
            continue
        if apart > tolerance(lifted):
            plain = [{**{k.name: k.default for k in lifted.constructor.knobs}, **held}, setting]
            return Relation(name, "different", where, verify.smallest(lifted, left, right, plain))
    if 2 * compared < len(settings):
        raise ValueError(f"{name} takes {compared} of {len(settings)} settings")
    return Relation(name, _proved(lifted, other, name, held) if proofs else "replay", where)


def _proved(lifted: Lifted, other: Any, name: str, held: Mapping[str, Any]) -> str:
    """proof if the prover finds the two equivalent, else replay."""
    from dotopt.compiler.prove import check_file

    head = f"rule {lifted.name}\n"
    condition = " and ".join(
        f"{'' if v else 'not '}{k}" if isinstance(v, bool) else f"{k} == {_shown(v)}" for k, v in held.items()
    )
    text = lifted.text.replace(head, f"rule Lifted\nuse {name}\n", 1)
    text += f"\nclaim same:\n  show equivalent to {name}{' when ' + condition if condition else ''}\n"
    with tempfile.TemporaryDirectory() as folder:
        path = File(folder) / "lifted.opt"
        path.write_text(text, encoding="utf-8")
        try:
            report = check_file(path)
        except OptError:
            return "replay"
    return "proof" if report.claims and all(c.status == "proved" for c in report.claims) else "replay"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
