"""A whole step in one graph of `torch.compile`, without breaks.

That asks for numbers that are tensors: `lr=torch.tensor(1e-3)`, as for the optimizers of torch. A number that is a
float would stand in the graph as a constant, and every move of a schedule would compile it again; such steps are
traced in parts, between which the numbers are read. States have to be there, so the first step is taken without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from dotopt.runtime.optimizer import groups, precision
from dotopt.runtime.optimizer.functional import move
from dotopt.runtime.optimizer.groups import Bucket, Group
from dotopt.runtime.rule import Rule

if TYPE_CHECKING:
    from dotopt.runtime.optimizer import Optimizer


def possible(rule: Rule) -> bool:
    """Whether the steps of a rule move each entry by itself, and are the same in the first step as later."""
    fits = all(
        step.entrywise and not step.torch_only and not step.reasons and all(s.start is not None for s in step.states)
        for step in rule.steps.values()
    )
    return fits and bool(rule.pure.steps)  # made here, since `torch.compile` cannot trace how


def fits(group: Group) -> bool:
    """Whether the learning rate of a group is a tensor, and nothing is asked besides.

    Decided when a group is made: in traced code a look at a group has it compiled again for each number in it.
    """
    usual = not group.get("differentiable") and group.get("state_dtype") is None and group.get("param_rounding") is None
    return usual and isinstance(group.get("lr"), Tensor)


def ready(optimizer: Optimizer) -> bool:
    """Whether the states are there, and the parameters at their training points."""
    stepped = (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
    return optimizer.training and all(p in optimizer.state for p in stepped)


def step(optimizer: Optimizer) -> None:
    """The step, in operations that `torch.compile` sees."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                _move(optimizer.rule_of(group).pure, group, p, optimizer.state[p])


def _move(rule: Rule, group: Group, p: Tensor, own: dict[str, Tensor]) -> None:
    chosen = rule.step(groups.options_of(rule, group), p.ndim)
    states = {s.name: [own[s.key]] for s in chosen.states if s.place != "clock"}
    bucket = Bucket(rule, chosen, group, [p], states, precision=precision.FULL)
    bucket.hypers = {hyper.name: hyper.of(group) for hyper in rule.hypers}
    bucket.t = own["step"].add_(1.0)
    bucket.shared = {s.name: own[s.key] for s in chosen.states if s.place == "clock"}
    assert p.grad is not None
    ((after, made, numbers),) = move([bucket], [-p.grad if group["maximize"] else p.grad])
    p.copy_(after)
    for key, value in made.items():
        own[key].copy_(value)
    for key, number in numbers.items():
        if isinstance(number, Tensor):
            own[key].copy_(number)
