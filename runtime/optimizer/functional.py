"""A rule as a pure function: parameters, gradients and state in, parameters and state out; nothing is written into.

    step = AdamW.functional(lr=1e-3)
    state = step.init(params)                         # params: a tensor, or lists and dictionaries of tensors
    params, state = step(params, grads, state)

The emitted step is read with the words of `runtime.pure`, so autograd differentiates through it, also in a
hyperparameter that is given as a tensor, and `torch.func.vmap` makes an ensemble of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dotopt.runtime import oracles
from dotopt.runtime.optimizer import groups, precision, signature
from dotopt.runtime.optimizer.groups import Bucket, Group
from dotopt.runtime.rule import Rule, Step
from dotopt.runtime.scalars import Scalar

Tree = Any  # a tensor, or lists, tuples and dictionaries of trees
TENSORS = ("like", "axes", "number")  # places of states that each parameter has for itself
ANSWERS: dict[type, Callable[[list[Tensor]], Tensor]] = {
    oracles.ModelSum: lambda parts: torch.stack(parts).sum(),
    oracles.ModelMax: lambda parts: torch.stack(parts).max(),
    oracles.ModelNorm: lambda parts: torch.linalg.vector_norm(torch.stack(parts)),
}


@dataclass(frozen=True)
class Functional:
    """The pure form of a rule, with the numbers and options of `group`; see `Optimizer.functional`."""

    rule: Rule
    group: Mapping[str, Any]

    def init(self, params: Tree) -> dict[str, Any]:
        """The state before the first step.

        `step` is the number of steps taken, `states` has a dictionary of tensors in the place of each parameter, under
        the keys of `state_dict`, and `shared` the numbers that all have in common. Raises ValueError for a tensor that
        the rule does not take.
        """
        hypers = groups.numbers_of(self.rule, dict(self.group))
        shared: dict[str, Tensor] = {}
        made = []
        for p in leaves(params):
            needed = self.rule.pattern.misfit(p.ndim)
            if needed is not None:
                raise ValueError(f"{self.rule.name} needs {needed} (`{self.rule.pattern}`); found {tuple(p.shape)}")
            step = self._step(self.group, p)
            made.append({s.key: groups.allocate(step, s, p, hypers) for s in step.states if s.place in TENSORS})
            shared |= {s.key: _start(s.start) for s in step.states if s.place not in TENSORS}
        return {"step": torch.zeros(()), "states": rebuilt(params, iter(made)), "shared": shared}

    def __call__(
        self, params: Tree, grads: Tree, state: Mapping[str, Any], **hypers: Any
    ) -> tuple[Tree, dict[str, Any]]:
        """Parameters and state after one step; `grads` has the structure of `params`.

        `hypers` replace numbers of the rule for this step, by their keywords; a tensor is differentiated through.
        Raises TypeError for a keyword that the rule does not have.
        """
        signature.refuse_unknown(self.rule, hypers, tuple(signature.defaults(self.rule)))
        group = {**self.group, **hypers}
        signature.check_shapes(self.rule, group)
        numbers = {hyper.name: _scalar(hyper.of(group)) for hyper in self.rule.hypers}
        t = _counted(state["step"] + 1)
        given = list(leaves(params))
        slopes, own = list(leaves(grads)), list(_beside(params, state["states"]))
        if len(slopes) != len(given):
            raise ValueError(f"{len(given)} parameters and {len(slopes)} gradients")
        buckets = []
        for p, kept in zip(given, own, strict=True):
            step = self._step(group, p)
            states = {s.name: [kept[s.key]] for s in step.states if s.key in kept}
            # the precision is named here, since `torch.compile` does not find the default of a field
            bucket = Bucket(self.rule, step, group, [p], states, precision=precision.FULL)
            bucket.hypers, bucket.t = numbers, t
            bucket.shared = {s.name: _counted(state["shared"][s.key]) for s in step.states if s.key in state["shared"]}
            buckets.append(bucket)
        try:
            moved = move(buckets, [-g for g in slopes] if group["maximize"] else slopes)
        except RuntimeError as error:
            if not isinstance(t, Tensor) or "data-dependent" not in str(error):
                raise
            raise RuntimeError(
                f"{self.rule.name} branches on the number of steps, which is another one for each member here: give "
                "`step` of the state one value for all, `in_dims=(0, 0, {'step': None, 'states': 0, 'shared': 0})`"
            ) from error
        shared = {key: _number(value) for _, _, numbers in moved for key, value in numbers.items()}
        return rebuilt(params, (p for p, _, _ in moved)), {
            "step": state["step"] + 1,
            "states": rebuilt(params, (kept for _, kept, _ in moved)),
            "shared": shared,
        }

    def _step(self, group: Mapping[str, Any], p: Tensor) -> Step:
        return self.rule.step(groups.options_of(self.rule, dict(group)), p.ndim)


def functional(rule: Rule, group: Group) -> Functional:
    """The pure form; raises TypeError for a rule that needs more than gradients."""
    steps = rule.steps.values()
    if rule.reasons:
        raise TypeError(f"{rule.name} asks for more than gradients: {'; '.join(rule.reasons)}; use the optimizer")
    if any(step.torch_only for step in steps):
        raise TypeError(f"{rule.name} draws at random or reads what layers see, so it is no function of gradients")
    return Functional(rule.pure, group)


Moved = tuple[Tensor, dict[str, Tensor], dict[str, Scalar]]


def move(buckets: Sequence[Bucket], grads: Sequence[Tensor]) -> list[Moved]:
    """For each bucket of one tensor: its next value, its next states and the next shared numbers, by their keys.

    Their steps are those of `Rule.pure`.
    """
    arguments, runs = [], []
    for bucket, g in zip(buckets, grads, strict=True):
        (p,) = bucket.params
        pattern = bucket.step.pattern
        places = {s.name: s.place for s in bucket.step.states}
        lists = [[groups.seen(p, p, pattern)]]
        if bucket.step.gradient:
            lists.append([groups.seen(g, p, pattern)])
        lists += [
            [groups.seen(kept, p, pattern) if places[name] == "like" else kept]
            for name, (kept,) in bucket.states.items()
        ]
        arguments.append(lists)
        runs.append(bucket.step.run(*lists, **groups.numbers(bucket, False)))
    results = _driven(runs) if any(bucket.step.generator for bucket in buckets) else runs
    return [_taken(*parts) for parts in zip(buckets, arguments, results, strict=True)]


def _taken(bucket: Bucket, lists: list[list[Tensor]], results: Any) -> Moved:
    (p,) = bucket.params
    first = 2 if bucket.step.gradient else 1
    keys = {s.name: s.key for s in bucket.step.states}
    states = {
        keys[name]: groups.unseen(after[0], before)
        for (name, (before,)), after in zip(bucket.states.items(), lists[first:], strict=True)
    }
    shared = [s for s in bucket.step.states if s.place not in TENSORS]
    numbers = {s.key: value for s, value in zip(shared, results or (), strict=True)}
    return groups.unseen(lists[0][0], p), states, numbers


def _driven(runs: Sequence[Any]) -> list[Any]:
    """The results of generators that ask for sums over all parameters, in lockstep."""
    results: list[Any] = [None] * len(runs)
    answers: dict[int, Any] = dict.fromkeys(range(len(runs)))
    while answers:
        asked = {}
        for place, reply in answers.items():
            try:
                asked[place] = runs[place].send(reply)
            except StopIteration as end:
                results[place] = end.value
        answers = {}
        for kind in {type(request) for request in asked.values()}:
            some = {place: request for place, request in asked.items() if type(request) is kind}
            parts = [torch.as_tensor(part).double() for request in some.values() for part in request.parts]
            answers |= dict.fromkeys(some, ANSWERS[kind](parts))
    return results


# ---- numbers ----


def _start(start: float | None) -> Tensor:
    return torch.tensor(float("nan") if start is None else start, dtype=torch.float64)


def _scalar(value: Any) -> Scalar:
    return value if isinstance(value, Tensor) else float(value)


def _number(value: Scalar) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def _counted(value: Tensor) -> Scalar:
    """A number that follows from the count of steps: a float, unless it is batched, traced or differentiated."""
    if value.requires_grad or torch.compiler.is_compiling():
        return value
    try:
        return float(value)
    except RuntimeError:  # `vmap` cannot say what it is
        return value


# ---- trees ----


def leaves(tree: Tree) -> Iterator[Tensor]:
    """The tensors of a tree, from left to right."""
    match tree:
        case Tensor():
            yield tree
        case Mapping():
            for value in tree.values():
                yield from leaves(value)
        case list() | tuple():
            for value in tree:
                yield from leaves(value)
        case _:
            raise TypeError(f"parameters are tensors, or lists and dictionaries of them; found {tree!r}")


def rebuilt(tree: Tree, parts: Iterator[Any]) -> Tree:
    """A tree of the same structure, with these in the place of its tensors."""
    match tree:
        case Mapping():
            return {key: rebuilt(value, parts) for key, value in tree.items()}
        case list() | tuple():
            return type(tree)([rebuilt(value, parts) for value in tree])
    return next(parts)


def _beside(tree: Tree, other: Tree) -> Iterator[Any]:
    """What stands in `other` where `tree` has tensors."""
    match tree:
        case Mapping():
            for key, value in tree.items():
                yield from _beside(value, other[key])
        case list() | tuple():
            for value, its in zip(tree, other, strict=True):
                yield from _beside(value, its)
        case _:
            yield other
