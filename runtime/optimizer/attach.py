"""An optimizer that hangs on a model: it steps inside `backward`, and sees what linear layers see.

    optimizer = attach(model, Lion, lr=1e-4)                  each parameter is stepped as soon as its gradient is there
    optimizer = attach(model, DeltaGD, rest=AdamW, lr=0.1)    a rule that reads inputs and output gradients of layers

With `release` no two gradients live at the same time for longer than it takes to step one: that saves as many bytes as
the parameters have. What needs all gradients together is refused: closures, sums over the model, clipping by the norm
of all of them, loss scaling; the sum of several backward passes is warned of (for all that there is `release=False`).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dotopt.compiler.evaluate import evaluate
from dotopt.compiler.ir import REDUCTIONS
from dotopt.compiler.schedule.variants import specialise
from dotopt.runtime.loading import load
from dotopt.runtime.optimizer import Optimizer, clipping, groups, signature
from dotopt.runtime.optimizer.layers import Layers
from dotopt.runtime.optimizer.route import Routed
from dotopt.runtime.rule import Rule


def attach(
    model: nn.Module,
    rule: type[Optimizer],
    *,
    rest: type[Optimizer] | None = None,
    release: bool = True,
    backend: str = "auto",
    **options: Any,
) -> Attached:
    """An optimizer of all parameters of `model` that steps inside `backward`; `release=False`: in `step()`, as usual.

    `rest` takes the parameters that `rule` cannot move: those whose shape does not fit and, if `rule` reads what linear
    layers see, all but the weights of `nn.Linear`. An option named after a rule holds its own options; any other goes
    to every rule that has it. Raises TypeError for a rule that needs more than gradients as they come, and for an
    option that no rule has; ValueError for a parameter that neither rule takes.

    >>> from dotopt.stdlib import AdamW, SGDMemory
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> optimizer = attach(model, SGDMemory, rest=AdamW, lr=0.1, AdamW={"lr": 1e-3})
    >>> model(torch.ones(8, 4)).square().mean().backward()  # has stepped
    >>> [len(group["params"]) for group in optimizer.param_groups], model[0].weight.grad
    ([2, 2], None)
    """
    if isinstance(model, nn.parallel.DistributedDataParallel):
        raise TypeError("the gradients of DistributedDataParallel are not averaged yet when hooks see them")
    rules = [rule, *([rest] if rest is not None else [])]
    for cls in rules:
        _check(cls.rule)
    linear = _linear(model)
    taken: dict[type[Optimizer], list[tuple[str, Tensor]]] = {cls: [] for cls in rules}
    for name, p in model.named_parameters():
        if p.requires_grad:
            taken[_taker(rules, name, p, {module.weight for module in linear})].append((name, p))
    names = {cls.rule.name for cls in rules}
    made = []
    for cls, some in taken.items():
        known = {*cls.__signature__.parameters} - {"params", "backend"}
        own = {key: value for key, value in options.items() if key in known and key not in names}
        if some:
            made.append({"params": some, "rule": cls.rule.name, **own, **dict(options.get(cls.rule.name, {}))})
    for key in options:
        if key not in names and not any(key in cls.__signature__.parameters for cls in rules):
            raise TypeError(f"{' or '.join(sorted(names))} has no option `{key}`")
    layers = Layers(linear) if any(cls.rule.layered for cls in rules) else None
    try:
        return Attached(made, rules, layers, release=release, backend=backend)
    except BaseException:
        if layers is not None:
            layers.remove()
        raise


def _check(rule: Rule) -> None:
    if rule.reasons:
        raise TypeError(
            f"{rule.name} asks for more than gradients as they come: {'; '.join(rule.reasons)}. "
            "Use it as an ordinary optimizer, with `step(closure)`"
        )


def _together(cls: type[Optimizer], group: Mapping[str, Any]) -> None:
    """Raises TypeError for a rule that needs all gradients at once, with the hyperparameters that a group has now."""
    rule, options = cls.rule, groups.options_of(cls.rule, dict(group))
    for key, step in rule.steps.items():
        asks = step.generator or any(state.place == "group" for state in step.states)
        if asks and key[: len(options)] == options and _sums(cls, options, key[-1] if rule.ranked else None, group):
            raise TypeError(
                f"{rule.name} sums over all parameters, whose gradients are never there together inside `backward`: "
                "use `attach(…, release=False)` and call `step()`"
            )


def _sums(cls: type[Optimizer], options: tuple[bool | str, ...], rank: int | None, group: Mapping[str, Any]) -> bool:
    """Whether the program sums over the model, choices that hyperparameters decide made: clipping may be off."""
    if cls.origin is None:
        return True
    program = load.program(cls.origin, options, rank)
    values = groups.numbers_of(cls.rule, dict(group))
    truth = {}
    for here in (inner for root in program.roots for inner in root.walk()):
        if here.op == "select":
            leaves = {leaf for leaf in here.args[0].walk() if leaf.op == "leaf"}
            if all(leaf.role == "hyper" for leaf in leaves):
                truth[here.args[0]] = bool(evaluate(here.args[0], {leaf: float(values[leaf.name]) for leaf in leaves}))
    decided = specialise(program, truth)
    return any(here.op in REDUCTIONS and here.attrs.model for root in decided.roots for here in root.walk())


def _linear(model: nn.Module) -> list[nn.Linear]:
    """The linear layers that alone use their weights, and that are called."""
    modules = list(model.modules())
    users: dict[Tensor, int] = {}
    for module in modules:
        for p in module.parameters(recurse=False):
            users[p] = users.get(p, 0) + (1 if isinstance(module, nn.Linear) else 2)
    silent = {module.out_proj for module in modules if isinstance(module, nn.MultiheadAttention)}
    found = [module for module in modules if isinstance(module, nn.Linear) and module not in silent]
    return [m for m in found if users.get(m.weight, 0) == sum(other.weight is m.weight for other in found)]


def _taker(rules: list[type[Optimizer]], name: str, p: Tensor, weights: set[Tensor]) -> type[Optimizer]:
    """The first rule that can move a parameter."""
    reasons = []
    for cls in rules:
        misfit = cls.rule.pattern.misfit(p.ndim)
        if misfit is not None:
            reasons.append(f"{cls.rule.name} needs {misfit} (`{cls.rule.pattern}`)")
        elif cls.rule.layered and p not in weights:
            reasons.append(f"{cls.rule.name} moves weights of `nn.Linear` that nothing else uses")
        else:
            return cls
    why = "; ".join(reasons)
    help = "give it to another rule by `rest=`, such as `rest=AdamW`" if len(rules) == 1 else "freeze it"
    raise ValueError(f"no rule moves `{name}` of shape {tuple(p.shape)}: {why}; {help}")


class Attached(Routed):
    """An optimizer on hooks of a model; groups, schedules, checkpoints as of any other.

    `optimizers` holds the one that steps each parameter, if gradients are released. `step()` then only moves what has a
    gradient left, so a loop with or without it does the same. A copy, or what `pickle` gives back, has no hooks.
    """

    def __init__(
        self,
        params: list[dict[str, Any]],
        rules: list[type[Optimizer]],
        layers: Layers | None,
        *,
        release: bool,
        backend: str,
    ) -> None:
        self.layers = layers
        self.release = release
        self.optimizers: dict[Tensor, Optimizer] = {}
        self.hooks: dict[Tensor, Any] = {}
        self.homes: dict[Tensor, int] = {}
        self.arrivals: Counter[Tensor] = Counter()  # backward passes since the last step or `zero_grad`
        self._warned = False
        super().__init__(params, rules, backend=backend)
        if release:
            clipping.watch(self)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; its key `rule` names one of the rules."""
        if param_group.get("rule") is None:
            super().add_param_group(param_group)  # comes back here, a group for each rule
            return
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        self.parts[group["rule"]].layers = self.layers
        if not self.release:
            return
        try:
            _together(self.rules[group["rule"]], group)
        except TypeError:
            self.param_groups.pop()
            self.parts[group["rule"]].param_groups.pop()
            raise
        for name, p in _named(group):
            self.homes[p] = len(self.param_groups) - 1
            own = {**self._hyperparameters(group), "params": [(name, p)]}
            alone = self.rules[group["rule"]]([own], backend=self.backend)
            alone.layers = self.layers
            self.optimizers[p] = alone
            self.hooks[p] = p.register_post_accumulate_grad_hook(self._arrived)

    @property
    def chooses(self) -> bool:
        """A parameter goes to the first rule that can move it, whether a group says so or not."""
        return True

    def _takes(self, rule: str, name: str, p: Tensor) -> bool:
        """Without `rule` in a group the first rule that can move a parameter gets it."""
        cls = self.rules[rule]
        return cls.rule.pattern.misfit(p.ndim) is None and not cls.rule.layered

    def _hyperparameters(self, group: Mapping[str, Any]) -> dict[str, Any]:
        known = (*signature.defaults(self.rule_of(group)), *signature.COMMON)
        return {key: group[key] for key in known}

    def _arrived(self, p: Tensor) -> None:
        """Step a parameter whose gradient is complete, and free the gradient."""
        group = self.param_groups[self.homes[p]]
        alone, hyperparameters = self.optimizers[p], self._hyperparameters(group)
        if any(alone.param_groups[0][key] != value for key, value in hyperparameters.items()):  # a schedule is at work
            _together(self.rules[group["rule"]], group)
            alone.param_groups[0].update(hyperparameters)
        alone.training = self.parts[group["rule"]].training
        alone.state = self.state
        alone.step()
        p.grad = None
        self.arrivals[p] += 1
        self._opt_called = True  # what schedulers look for

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """`torch.amp.GradScaler` divides gradients of weights only: those of outputs are divided here."""
        return self.layers is not None or self.release

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients; the next backward pass is the first of its step."""
        super().zero_grad(set_to_none)
        self.arrivals.clear()

    def _accumulated(self) -> None:
        passes = max(self.arrivals.values(), default=0)
        self.arrivals.clear()
        if passes > 1 and not self._warned:
            self._warned = True
            warnings.warn(
                f"{passes} backward passes came before this `step()`, and each has stepped already: their gradients "
                "were not added up; use `attach(…, release=False)` to accumulate them",
                stacklevel=5,
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move what still has a gradient; returns what `closure` returns."""
        scale, found = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        if self.release and found is not None:
            raise RuntimeError(
                "GradScaler scales the loss, and the scaled gradients were stepped inside `backward`; "
                "use `attach(…, release=False)`, or bfloat16 without a scaler"
            )
        self._accumulated()
        if self.layers is not None and found is not None and scale is None:
            raise RuntimeError("`unscale_` divides gradients of weights, not those of outputs: leave it out")
        for part in self.parts.values():
            part.grad_scale, part.found_inf = scale, found  # type: ignore[attr-defined]  # as the scaler leaves them
        return super().step(closure)

    def detach(self) -> None:
        """Take the hooks away: what is left is an ordinary optimizer with the same groups and state."""
        for hook in self.hooks.values():
            hook.remove()
        self.hooks.clear()
        self.optimizers.clear()
        self.release = False
        if self.layers is not None:
            self.layers.remove()


def _named(group: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    names = group.get("param_names") or [str(i) for i in range(len(group["params"]))]
    yield from zip(names, group["params"], strict=True)
