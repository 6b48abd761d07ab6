"""One optimizer out of several rules: matrices to Muon, the rest to AdamW, with one state and one schedule.

optimizer = route(model, {Muon: "matrices", AdamW: "rest"}, Muon={"lr": 0.02}, AdamW={"lr": 3e-4})
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dotopt.runtime.optimizer import Optimizer, checkpoint, signature
from dotopt.runtime.rule import Pattern, Rule

Where = str | Callable[[str, Tensor], bool]
Named = list[tuple[str, Tensor]]


def route(
    model: nn.Module | Iterable[tuple[str, Tensor]],
    rules: Mapping[type[Optimizer], Where],
    *,
    backend: str = "auto",
    **options: Any,
) -> Routed:
    """One optimizer that gives each parameter to the first rule that takes it.

    A rule takes `"matrices"` (weights with two axes or more that fit it, without embeddings and the last linear layer),
    `"rest"`, or what a predicate of name and tensor says. An option named after a rule holds its own options; any
    other goes to every rule that has it. Raises TypeError for an option that no rule has, ValueError if a parameter is
    taken by none.
    """
    named = _named(model)
    apart = _ends(model) if isinstance(model, nn.Module) else set()
    names = {cls.rule.name: cls for cls in rules}
    common = {key: value for key, value in options.items() if key not in names}
    taken: dict[str, Named] = {name: [] for name in names}
    for name, p in named:
        for cls, where in rules.items():
            if _takes(where, name, p, apart) and not (where == "matrices" and cls.rule.pattern.misfit(p.ndim)):
                taken[cls.rule.name].append((name, p))
                break
        else:
            raise ValueError(f'no rule takes the parameter `{name}`; give one of them `"rest"`')
    groups = []
    for name, cls in names.items():
        known = {*cls.__signature__.parameters} - {"params", "backend"}
        given = {key: value for key, value in common.items() if key in known} | dict(options.get(name, {}))
        if taken[name]:
            groups.append({"params": taken[name], "rule": name, **given})
    for key in common:
        if not any(key in cls.__signature__.parameters for cls in rules):
            raise TypeError(f"none of {', '.join(names)} has an option `{key}`")
    return Routed(groups, list(rules), backend=backend, where=rules, apart=apart)


def _named(model: nn.Module | Iterable[tuple[str, Tensor]]) -> Named:
    if isinstance(model, nn.Module):
        return [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return list(model)


def _ends(model: nn.Module) -> set[Tensor]:
    """The weights that are tables rather than maps: embeddings (and what is tied to them), and the last linear
    layer.
    """
    embeddings = [m.weight for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
    linear = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    return {*embeddings, *linear[-1:]}


def _takes(where: Where, name: str, p: Tensor, apart: set[Tensor]) -> bool:
    match where:
        case "matrices":
            return p.ndim >= 2 and p not in apart
        case "rest":
            return True
        case str():
            raise ValueError(
                f"{where!r} is no way to choose parameters; write 'matrices', 'rest', or a function of name and tensor"
            )
    return where(name, p)


class Routed(torch.optim.Optimizer):
    """Groups of different rules behind one interface; a group says in `rule` which one moves it.

    Each rule is an optimizer of its own, which shares its groups and its state with this one. Sums over the model run
    over the parameters of one rule.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        rules: list[type[Optimizer]],
        *,
        backend: str = "auto",
        where: Mapping[type[Optimizer], Where] | None = None,
        apart: Iterable[Tensor] = (),
    ) -> None:
        self.rules = {cls.rule.name: cls for cls in rules}
        self.where = {cls.rule.name: choice for cls, choice in (where or {}).items()}
        self.apart = set(apart)
        self.backend = backend
        self.parts: dict[str, Optimizer] = {}
        for cls in rules:
            if cls.rule.reasons:
                raise TypeError(
                    f"{cls.rule.name} needs a closure of its own, so it cannot share a step with other rules"
                )
        super().__init__(params, {})

    @property
    def rule(self) -> Rule:
        """The name under which checkpoints are kept."""
        return Rule(" + ".join(self.rules), "", "", "", (), (), Pattern("", ("…",)), {})

    def rule_of(self, group: Mapping[str, Any]) -> Rule:
        """The rule that moves the parameters of a group."""
        return self.rules[group["rule"]].rule

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the rule that its key `rule` names, or else a group to each rule that takes some of it.

        The table that was given to `route` says who takes what. Raises ValueError if nobody does.
        """
        rule = param_group.get("rule")
        if rule is None and self.chooses:
            for taker, some in self._shares(param_group):
                self.add_param_group({**param_group, "params": some, "rule": taker})
            return
        name = rule.rule.name if isinstance(rule, type) and issubclass(rule, Optimizer) else rule
        if name not in self.rules:
            raise ValueError(f"a group needs `rule`, one of {', '.join(self.rules)}; found {rule!r}")
        taken = {p for group in self.param_groups for p in group["params"]}
        given = {key: value for key, value in param_group.items() if key != "rule"}
        part = self.parts.get(name)
        if part is None:
            part = self.rules[name]([given], backend=self.backend)
        else:
            part.add_param_group(given)
        group = part.param_groups[-1]
        if not taken.isdisjoint(group["params"]):
            part.param_groups.pop()
            raise ValueError("some parameters appear in more than one parameter group")
        self.parts[name] = part
        group["rule"] = name
        self.param_groups.append(group)
        part.state = self.state

    def _shares(self, group: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
        """The parameters of a group by the rule that takes them, as they were given: tensors, or names and tensors."""
        given = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        shares: dict[str, list[Any]] = {}
        for place, entry in enumerate(given):
            key, p = entry if isinstance(entry, tuple) else (f"parameter {place}", entry)
            takers = (name for name in self.rules if self._takes(name, key, p))
            name = next(takers, None)
            if name is None:
                raise ValueError(f'no rule takes the parameter `{key}`; name one in the group: `"rule": …`')
            shares.setdefault(name, []).append(entry)
        return list(shares.items())

    @property
    def chooses(self) -> bool:
        """Whether there is a table that says which rule takes a parameter."""
        return bool(self.where) or len(self.rules) == 1

    def _takes(self, rule: str, name: str, p: Tensor) -> bool:
        if len(self.rules) == 1:
            return True
        where = self.where[rule]
        fits = where != "matrices" or self.rules[rule].rule.pattern.misfit(p.ndim) is None
        return fits and _takes(where, name, p, self.apart)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every rule; returns what `closure` returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts.values():
            part.check_step()
        for part in self.parts.values():
            part.step()
        return loss

    def eval(self) -> None:
        """Put the evaluation points into the parameters, where a rule has one."""
        for part in self.parts.values():
            part.eval()

    def train(self, mode: bool = True) -> None:
        """Put the training points back."""
        for part in self.parts.values():
            part.train(mode)

    @property
    def training(self) -> bool:
        """Whether the parameters are at their training points."""
        return all(part.training for part in self.parts.values())

    @training.setter
    def training(self, mode: bool) -> None:
        for part in self.parts.values():
            part.training = mode

    def state_dict(self) -> dict[str, Any]:
        """One state for all rules."""
        return checkpoint.save(self, super().state_dict())  # type: ignore[arg-type]  # it has all that this asks for

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint of the same rules."""
        checkpoint.load(self, state_dict)  # type: ignore[arg-type]  # it has all that this asks for

    def __getstate__(self) -> dict[str, Any]:
        words = {name: where for name, where in self.where.items() if isinstance(where, str)}
        where = words if len(words) == len(self.where) else {}  # functions need not survive pickling
        return super().__getstate__() | {
            "backend": self.backend, "training": self.training, "where": where, "apart": self.apart,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        training = state.pop("training", None)
        super().__setstate__({"where": {}, "apart": set(), **state} if not hasattr(self, "where") else state)
        self.parts = getattr(self, "parts", {})
        for name, cls in self.rules.items():
            groups = [group for group in self.param_groups if group["rule"] == name]
            if groups:
                part = self.parts.setdefault(name, cls.__new__(cls))
                values = {**signature.defaults(cls.rule), **signature.COMMON}
                kept = {"defaults": values, "backend": self.backend, "training": True} | vars(part)
                part.__setstate__(kept | {"state": self.state, "param_groups": groups})
        if training is not None:
            self.training = training

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (tuple(cls.origin or cls for cls in self.rules.values()), self.__getstate__())

    def __repr__(self) -> str:
        return f"Routed({', '.join(self.rules)}):\n" + "\n".join(map(repr, self.parts.values()))


def _unpickled(origins: tuple[Any, ...], state: dict[str, Any]) -> Routed:
    from dotopt.runtime.loading.load import named

    rules = [named(*origin) if isinstance(origin, tuple) else origin for origin in origins]
    made = Routed.__new__(Routed)
    made.rules = {cls.rule.name: cls for cls in rules}
    made.__setstate__({**state, "state": state.get("state", defaultdict(dict))})
    return made
