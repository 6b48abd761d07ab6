"""Rules of the library beside implementations that nobody here wrote: what is compared, and with which numbers.

`Reference` is a row: a rule here, the class there, what both are given, what only one needs, and the shapes.
Hyperparameters are generic: none is at a default that would hide a term.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytorch_optimizer
import torch
from torch import Tensor
from torch.nn import Parameter

import dotopt.stdlib as stdlib

ANY = ((4, 3), (5,), (2, 3, 2, 2), (3, 5), ())
ARRAYS = ((4, 3), (5,), (2, 3, 2, 2), (3, 5))
MATRICES = ((4, 3), (3, 5), (2, 3, 2, 2))
STEPS = 15
BETAS = (0.85, 0.97)
ADAM: dict[str, Any] = {"lr": 0.02, "betas": BETAS, "eps": 1e-6, "weight_decay": 0.05}
L2 = {"weight_decouple": False}
LION: dict[str, Any] = {"betas": BETAS, "weight_decay": 0.05}


class Reference(NamedTuple):
    """One comparison; `theirs` is a class of pytorch-optimizer, or anything that makes an optimizer."""

    rule: str
    theirs: str | Callable[..., Any]
    both: dict[str, Any] = {}
    here: dict[str, Any] = {}
    there: dict[str, Any] = {}
    shapes: Sequence[tuple[int, ...]] = ANY
    closure: bool = False
    scheduled: bool = False  # the learning rate changes from step to step
    draws: bool = False
    needs: str = ""  # what must be installed beside what the tests need
    rtol: float = 1e-10


def objective(params: Sequence[Tensor], t: int) -> Tensor:
    """A smooth function of the parameters that changes with the step."""
    total = torch.zeros((), dtype=torch.float64)
    for i, p in enumerate(params):
        w = 0.3 * torch.arange(1, p.numel() + 1, dtype=p.dtype).reshape(p.shape)
        total = total + (torch.sin(p * w + 0.3 * t + i) + 0.2 * (p - 0.5) ** 2 * w).sum()
    return total


def trajectory(make: Callable[[list[Parameter]], Any], reference: Reference) -> list[Tensor]:
    """The parameters after each step, as one vector a step."""
    seeded = torch.Generator().manual_seed(7)
    params = [Parameter(0.7 * torch.randn(s, generator=seeded, dtype=torch.float64) + 0.1) for s in reference.shapes]
    optimizer = make(params)
    found = []
    rate = optimizer.param_groups[0].get("lr", 0.0)
    for t in range(STEPS):
        if reference.scheduled:
            optimizer.param_groups[0]["lr"] = rate * (1.0 - 0.05 * t)

        def loss(t: int = t) -> Tensor:
            with torch.enable_grad():
                optimizer.zero_grad()
                value = objective(params, t)
                value.backward()
            return value

        loss()  # some of theirs want the first gradient before the step
        if reference.closure:
            optimizer.step(loss)
        else:
            optimizer.step()
        found.append(torch.cat([p.detach().flatten() for p in params]))
    return found


def ours(reference: Reference) -> Any:
    """The class here, of a rule or of a transform applied to one: `OrthoGrad(SGD)`."""
    outer, _, inner = reference.rule.removesuffix(")").partition("(")
    found = getattr(stdlib, outer)
    return found(getattr(stdlib, inner)) if inner else found


def expected(reference: Reference) -> list[Tensor]:
    """What the other implementation does."""
    theirs = reference.theirs
    make = getattr(pytorch_optimizer, theirs) if isinstance(theirs, str) else theirs
    return trajectory(lambda params: make(params, **reference.both, **reference.there), reference)


def in_double(name: str) -> Callable[..., Any]:
    """The class there, with every single-precision number that it keeps in double precision."""
    base = getattr(pytorch_optimizer, name)

    class Double(base):  # type: ignore[misc, valid-type]
        def init_group(self, group: Any, **given: Any) -> None:
            super().init_group(group, **given)
            for state in self.state.values():
                state.update({key: x.double() for key, x in state.items() if getattr(x, "dtype", 0) is torch.float32})

    return Double


def as_group(name: str, **flags: Any) -> Callable[..., Any]:
    """The class there, with flags that it reads from a group of parameters only."""
    return lambda params, **given: getattr(pytorch_optimizer, name)([{"params": params, **flags}], **given)


def from_optax(name: str, **tags: str) -> Callable[..., Any]:
    """What steps tensors with a transformation of optax, in double precision; `tags` are given beside arguments."""

    def make(params: list[Parameter], **given: Any) -> Any:
        import jax

        jax.config.update("jax_enable_x64", True)
        import optax

        arguments = {key: (tags[key], value) if key in tags else value for key, value in given.items()}
        made = getattr(optax, name, None) or getattr(optax.contrib, name)
        return OfOptax(params, made(**arguments), optax.apply_updates)

    return make


class OfOptax(torch.optim.Optimizer):
    """A transformation of optax behind the interface of torch's optimizers."""

    def __init__(self, params: list[Parameter], transformation: Any, apply: Callable[..., Any]) -> None:
        super().__init__(params, {})
        self.params, self.transformation, self.apply = params, transformation, apply
        self.values = [p.detach().numpy().copy() for p in params]
        self.kept = transformation.init(self.values)

    def step(self, closure: Any = None) -> None:
        gradients = [p.grad.numpy().copy() for p in self.params if p.grad is not None]
        updates, self.kept = self.transformation.update(gradients, self.kept, self.values)
        self.values = self.apply(self.values, updates)
        for p, value in zip(self.params, self.values, strict=True):
            p.data.copy_(torch.tensor(value.tolist(), dtype=p.dtype))


def global_square(groups: Any, device: Any = None, weight_adaptive: bool = False) -> Tensor:
    """What pytorch-optimizer sums in single precision, in double precision."""
    squares = [
        ((p.detach() if weight_adaptive and group.get("adaptive") else 1.0) * p.grad).square().sum()
        for group in groups
        for p in group["params"]
        if p.grad is not None
    ]
    return torch.stack(squares).sum().reshape(1)


@contextmanager
def in_double_precision() -> Iterator[None]:
    """pytorch-optimizer without single-precision numbers of its own."""
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("pytorch_optimizer.") and hasattr(module, "get_global_gradient_norm")
    ]
    before = torch.get_default_dtype(), [module.get_global_gradient_norm for module in modules]
    torch.set_default_dtype(torch.float64)
    for module in modules:
        module.get_global_gradient_norm = global_square
    try:
        yield
    finally:
        torch.set_default_dtype(before[0])
        for module, value in zip(modules, before[1], strict=True):
            module.get_global_gradient_norm = value


def wraps(name: str) -> Callable[..., Any]:
    """The wrapper there around torch's SGD with momentum."""

    def make(params: list[Parameter], **given: Any) -> Any:
        wrapper = getattr(pytorch_optimizer, name)
        if name == "OrthoGrad":
            return wrapper(torch.optim.SGD(params, **given))
        model = torch.nn.ParameterList(params)
        return wrapper(*([model] if name == "WSAM" else []), params, base_optimizer=torch.optim.SGD, **given)

    return make


REFERENCES: dict[str, Reference] = {
    "ada_bound": Reference("AdaBound", "AdaBound", ADAM | {"final_lr": 0.05, "gamma": 0.01}),
    "ada_bound ams": Reference(
        "AdaBound", "AdaBound", ADAM | L2 | {"final_lr": 0.05, "gamma": 0.05, "ams_bound": True}
    ),
    "ada_mod": Reference("AdaMod", "AdaMod", ADAM | {"betas": (0.85, 0.95, 0.9)}),
    "ada_mod l2": Reference("AdaMod", "AdaMod", ADAM | L2 | {"betas": (0.85, 0.95, 0.9)}),
    "ademamix": Reference("AdEMAMix", "AdEMAMix", ADAM | {"betas": (0.85, 0.97, 0.99), "alpha": 2.5}),
    "ademamix warm": Reference(
        "AdEMAMix",
        "AdEMAMix",
        ADAM | {"betas": (0.85, 0.97, 0.99), "alpha": 2.5, "t_alpha_beta3": 9, "weight_decouple": True},
    ),
    "agg_mo": Reference("AggMo", "AggMo", {"lr": 0.02, "betas": (0.1, 0.8, 0.97), "weight_decay": 0.1}),
    "agg_mo decoupled": Reference(
        "AggMo", "AggMo", {"lr": 0.02, "betas": (0.1, 0.8, 0.97), "weight_decay": 0.1, "weight_decouple": True}
    ),
    "grams": Reference("Grams", "Grams", ADAM),
    "gravity": Reference("Gravity", "Gravity", {"lr": 0.02, "beta": 0.8, "alpha": 0.0}, draws=True),
    "kate": Reference("Kate", "Kate", {"lr": 0.02, "delta": 0.3, "eps": 1e-6, "weight_decay": 0.05}),
    "kate l2": Reference("Kate", "Kate", {"lr": 0.02, "delta": 0.3, "eps": 1e-6, "weight_decay": 0.05} | L2),
    "lars": Reference(
        "LARS", "LARS", {"lr": 0.2, "momentum": 0.8, "weight_decay": 0.1, "trust_coefficient": 0.05, "dampening": 0.2}
    ),
    "lars nesterov": Reference(
        "LARS",
        "LARS",
        {
            "lr": 0.2,
            "momentum": 0.8,
            "weight_decay": 0.1,
            "trust_coefficient": 0.05,
            "dampening": 0.2,
            "nesterov": True,
        },
    ),
    "lars plain": Reference(
        "LARS", "LARS", {"lr": 0.2, "momentum": 0.0, "weight_decay": 0.1, "trust_coefficient": 0.05}
    ),
    "novo_grad": Reference("NovoGrad", "NovoGrad", ADAM | {"grad_averaging": True}),
    "novo_grad decoupled": Reference("NovoGrad", "NovoGrad", ADAM | {"weight_decouple": True}),
    "tiger": Reference("Tiger", "Tiger", {"lr": 0.02, "beta": 0.9, "weight_decay": 0.1}),
    "tiger l2": Reference("Tiger", "Tiger", {"lr": 0.02, "beta": 0.9, "weight_decay": 0.1} | L2),
    "yogi": Reference("Yogi", "Yogi", ADAM | {"initial_accumulator": 1e-4, "eps": 1e-4}),
    "yogi l2": Reference("Yogi", "Yogi", ADAM | L2 | {"initial_accumulator": 1e-4, "eps": 1e-4}),
    "pid": Reference(
        "PID",
        "PID",
        {"lr": 2e-3, "momentum": 0.8, "dampening": 0.1, "integral": 3.0, "derivative": 7.0, "weight_decay": 0.1},
    ),
    "pid decoupled": Reference(
        "PID", "PID", {"lr": 2e-3, "momentum": 0.8, "derivative": 7.0, "weight_decay": 0.1, "weight_decouple": True}
    ),
    "pid plain": Reference("PID", "PID", {"lr": 2e-3, "momentum": 0.0, "derivative": 7.0, "weight_decay": 0.1}),
    "fromage": Reference("Fromage", "Fromage", {"lr": 0.02}),
    "fromage bounded": Reference("Fromage", "Fromage", {"lr": 0.1, "p_bound": 1.1}),
    "srmm": Reference("SRMM", "SRMM", {"lr": 0.02, "beta": 0.6, "memory_length": 7}),
    "a2_grad": Reference("A2Grad", "A2Grad", {"beta": 5.0, "lips": 20.0}),
    "a2_grad inc": Reference("A2Grad", "A2Grad", {"beta": 5.0, "lips": 20.0, "variant": "inc"}),
    "a2_grad exp": Reference("A2Grad", "A2Grad", {"beta": 5.0, "lips": 20.0, "variant": "exp", "rho": 0.4}),
    "ada_smooth": Reference("AdaSmooth", "AdaSmooth", {"lr": 0.02, "betas": (0.5, 0.97), "weight_decay": 0.05}),
    "ada_smooth decoupled": Reference(
        "AdaSmooth", "AdaSmooth", {"lr": 0.02, "betas": (0.5, 0.97), "weight_decay": 0.05, "weight_decouple": True}
    ),
    "adai": Reference("Adai", "Adai", {"lr": 0.02, "betas": (0.1, 0.97), "weight_decay": 0.05}),
    "adai dampened": Reference(
        "Adai",
        "Adai",
        {"lr": 0.02, "betas": (0.2, 0.97), "weight_decay": 0.05, "dampening": 0.7, "weight_decouple": True},
        there={"stable_weight_decay": True},
    ),
    "diff_grad": Reference("DiffGrad", "DiffGrad", ADAM),
    "diff_grad ams": Reference("DiffGrad", "DiffGrad", ADAM | L2 | {"ams_bound": True}),
    "diff_grad rectified": Reference("DiffGrad", "DiffGrad", ADAM | {"rectify": True}),
    "madgrad": Reference("MADGRAD", "MADGRAD", {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.05}),
    "madgrad decoupled": Reference(
        "MADGRAD", "MADGRAD", {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.05, "eps": 1e-3, "weight_decouple": True}
    ),
    "msvag": Reference("MSVAG", "MSVAG", {"lr": 0.05, "beta": 0.8}),
    "pnm": Reference("PNM", "PNM", {"lr": 0.02, "betas": (0.85, 0.9), "weight_decay": 0.05}),
    "pnm l2": Reference("PNM", "PNM", {"lr": 0.02, "betas": (0.85, 0.9), "weight_decay": 0.05} | L2),
    "stable_adamw": Reference("StableAdamW", "StableAdamW", ADAM),
    "qhadam": Reference("QHAdam", in_double("QHAdam"), ADAM | {"nus": (0.7, 0.9)}),
    "qhadam decoupled": Reference("QHAdam", in_double("QHAdam"), ADAM | {"nus": (0.7, 0.9), "weight_decouple": True}),
    "aida": Reference("Aida", "Aida", ADAM | {"k": 2, "weight_decouple": True}, shapes=ARRAYS),
    "aida ams": Reference("Aida", "Aida", ADAM | {"k": 1, "ams_bound": True}, shapes=ARRAYS),
    "aida rectified": Reference("Aida", "Aida", ADAM | {"k": 2, "rectify": True}, shapes=ARRAYS),
    "amos": Reference("Amos", "Amos", {"lr": 0.05, "beta": 0.9, "momentum": 0.5, "extra_l2": 0.01}),
    "apollodqn": Reference(
        "ApolloDQN",
        "ApolloDQN",
        {"lr": 2e-3, "init_lr": 1e-4, "beta": 0.8, "warmup_steps": 12, "weight_decay": 0.05},
    ),
    "apollodqn stable": Reference(
        "ApolloDQN",
        "ApolloDQN",
        {
            "lr": 2e-3,
            "init_lr": 1e-4,
            "beta": 0.8,
            "warmup_steps": 12,
            "weight_decay": 0.05,
            "rebound": "belief",
            "weight_decay_type": "stable",
        },
    ),
    "ava_grad": Reference("AvaGrad", "AvaGrad", ADAM | {"eps": 0.02}),
    "ava_grad l2": Reference("AvaGrad", "AvaGrad", ADAM | L2 | {"eps": 0.02}),
    "came": Reference(
        "CAME", "CAME", {"lr": 0.01, "betas": (0.85, 0.97, 0.98), "weight_decay": 0.05, "clip_threshold": 0.8}
    ),
    "came l2": Reference(
        "CAME", "CAME", {"lr": 0.01, "betas": (0.85, 0.97, 0.98), "weight_decay": 0.05, "clip_threshold": 0.8} | L2
    ),
    "ftrl": Reference("FTRL", "FTRL", {"lr": 0.1, "lr_power": -0.4, "beta": 0.5, "lambda_1": 0.3, "lambda_2": 0.1}),
    "la_prop": Reference("LaProp", "LaProp", ADAM | {"lr": 2e-3, "eps": 1e-3}, there={"foreach": False}),
    "la_prop centered": Reference(
        "LaProp",
        "LaProp",
        ADAM | {"lr": 2e-3, "eps": 1e-3, "centered": True, "ams_bound": True, "steps_before_using_centered": 5},
        there={"foreach": False},
    ),
    "nero": Reference("Nero", "Nero", {"lr": 0.02, "beta": 0.9}, shapes=MATRICES),
    "nero free": Reference("Nero", "Nero", {"lr": 0.02, "beta": 0.9, "constraints": False}, shapes=ARRAYS),
    "alig": Reference("AliG", "AliG", {"max_lr": 0.02, "momentum": 0.5}, closure=True),
    "alig adjusted": Reference(
        "AliG", "AliG", {"max_lr": 0.02, "momentum": 0.5, "adjusted_momentum": True}, closure=True
    ),
    "sm3": Reference("SM3", "SM3", {"lr": 0.05, "momentum": 0.7, "beta": 0.6}, shapes=((4, 3), (5,), (3, 5))),
    "sm3 plain": Reference("SM3", "SM3", {"lr": 0.05}, shapes=((4, 3), (5,), (3, 5), ())),
    "swats": Reference("SWATS", "SWATS", {"lr": 0.02, "betas": BETAS}),
    "ada_bound scheduled": Reference("AdaBound", "AdaBound", ADAM | {"final_lr": 0.05, "gamma": 0.01}, scheduled=True),
    "adapnm": Reference("AdaPNM", "AdaPNM", ADAM | {"betas": (0.85, 0.97, 0.8)}),
    "adapnm l2": Reference("AdaPNM", "AdaPNM", ADAM | L2 | {"betas": (0.85, 0.97, 0.8), "ams_bound": False}),
    "adamc": Reference("AdamC", "AdamC", ADAM | {"ams_bound": True}, scheduled=True),
    "adamc normalized": Reference(
        "AdamC", as_group("AdamC", normalized=True), ADAM, here={"normalized": True}, scheduled=True
    ),
    "adamg": Reference("AdamG", "AdamG", ADAM | {"lr": 0.4, "betas": (0.85, 0.97, 0.9), "p": 0.3, "q": 0.3}),
    "adamg decoupled": Reference(
        "AdamG", "AdamG", ADAM | {"lr": 0.4, "betas": (0.85, 0.97, 0.9), "p": 0.3, "q": 0.3, "weight_decouple": True}
    ),
    "ada_norm": Reference("AdaNorm", "AdaNorm", ADAM | {"r": 0.8}),
    "ada_norm ams": Reference("AdaNorm", "AdaNorm", ADAM | L2 | {"r": 0.8, "ams_bound": True}),
    "exadam": Reference("EXAdam", "EXAdam", ADAM | {"eps": 1e-3}),
    "exadam l2": Reference("EXAdam", "EXAdam", ADAM | L2 | {"eps": 1e-3}),
    "padam": Reference("PAdam", "PAdam", ADAM | {"partial": 0.3}),
    "padam decoupled": Reference("PAdam", "PAdam", ADAM | {"partial": 0.3, "weight_decouple": True}),
    "fadam": Reference(
        "FAdam",
        "FAdam",
        ADAM | {"p": 0.4, "clip": 0.8, "eps_2": 0.02},
        there={"momentum_dtype": torch.float64, "fim_dtype": torch.float64},
    ),
    "bcos": Reference("BCOS", "BCOS", {"lr": 0.02, "beta": 0.8, "weight_decay": 0.05}, {"variant": "po"}),
    "bcos simple": Reference(
        "BCOS", "BCOS", {"lr": 0.02, "beta": 0.8, "weight_decay": 0.05, "simple_cond": True} | L2, {"variant": "po"}
    ),
    "bcos m": Reference("BCOS", "BCOS", {"lr": 0.02, "beta": 0.8, "beta2": 0.9, "weight_decay": 0.05, "mode": "m"}),
    "bcos g": Reference("BCOS", "BCOS", {"lr": 0.02, "beta": 0.8, "weight_decay": 0.05, "mode": "g"}),
    "adams": Reference("AdamS", "AdamS", ADAM),
    "adams ams": Reference("AdamS", "AdamS", ADAM | L2 | {"ams_bound": True}),
    "ano": Reference("Ano", "Ano", ADAM),
    "ano logarithmic": Reference("Ano", "Ano", ADAM | L2 | {"logarithmic_schedule": True}),
    "focus": Reference("FOCUS", "FOCUS", {"lr": 0.02, "betas": BETAS, "gamma": 0.3, "weight_decay": 0.05}),
    "tam": Reference(
        "TAM", "TAM", {"lr": 0.02, "momentum": 0.8, "decay_rate": 0.7, "weight_decay": 0.05, "eps": 1e-3}, shapes=ARRAYS
    ),
    "adatam": Reference("AdaTAM", "AdaTAM", ADAM | {"decay_rate": 0.7}, shapes=ARRAYS),
    "adatam l2": Reference("AdaTAM", "AdaTAM", ADAM | L2 | {"decay_rate": 0.7}, shapes=ARRAYS),
    "adagc": Reference("AdaGC", "AdaGC", ADAM | {"beta": 0.8, "lambda_abs": 0.9, "warmup_steps": 6}),
    "accsgd": Reference(
        "AccSGD", "AccSGD", {"lr": 2e-3, "kappa": 50.0, "xi": 4.0, "constant": 0.6, "weight_decay": 0.05}
    ),
    "sgdw": Reference(
        "SGDW", "SGDW", {"lr": 0.02, "momentum": 0.8, "dampening": 0.2, "weight_decay": 0.05, "nesterov": True}
    ),
    "sgdw l2": Reference("SGDW", "SGDW", {"lr": 0.02, "momentum": 0.8, "dampening": 0.2, "weight_decay": 0.05} | L2),
    "vsgd": Reference("VSGD", "VSGD", {"lr": 0.02, "ghattg": 5.0, "ps": 1e-2, "tau1": 0.7, "weight_decay": 0.05}),
    "vsgd l2": Reference(
        "VSGD", "VSGD", {"lr": 0.02, "ghattg": 5.0, "ps": 1e-3, "tau2": 0.6, "weight_decay": 0.05} | L2
    ),
    "dual_adam": Reference("DualAdam", "DualAdam", ADAM | {"switch_rate": 0.1}),
    "dual_adam decoupled": Reference("DualAdam", "DualAdam", ADAM | {"switch_rate": 0.06, "weight_decouple": True}),
    "rose": Reference("ROSE", "ROSE", {"lr": 0.02, "weight_decay": 0.05}, shapes=ARRAYS),
    "rose plain": Reference(
        "ROSE",
        "ROSE",
        {"lr": 0.02, "weight_decay": 0.05, "weight_decouple": True, "centralize": False, "stabilize": False},
        shapes=ARRAYS,
    ),
    "grok_fast_adamw": Reference(
        "GrokFastAdamW",
        "GrokFastAdamW",
        ADAM | {"grokfast_alpha": 0.9, "grokfast_lamb": 1.5, "grokfast_after_step": 4},
    ),
    "grok_fast_adamw off": Reference("GrokFastAdamW", "GrokFastAdamW", ADAM | L2 | {"grokfast": False}),
    "simplified_ademamix": Reference(
        "SimplifiedAdEMAMix", "SimplifiedAdEMAMix", ADAM | {"alpha": 1.5, "beta1_warmup": 9}, there={"foreach": False}
    ),
    "simplified_ademamix l2": Reference(
        "SimplifiedAdEMAMix", "SimplifiedAdEMAMix", ADAM | L2 | {"alpha": 1.5}, there={"foreach": False}
    ),
    "ranger": Reference("Ranger", "Ranger", ADAM | {"alpha": 0.4, "k": 4}, {"variant": "po"}, shapes=ARRAYS),
    "ranger momentum": Reference(
        "Ranger", "Ranger", ADAM | L2 | {"k": 5, "degenerated_to_sgd": True, "use_gc": False}, shapes=ARRAYS
    ),
    "schedule_freesgd": Reference(
        "ScheduleFreeSGD",
        "ScheduleFreeSGD",
        {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.05, "r": 0.5, "warmup_steps": 6},
    ),
    "schedule_freeradam": Reference("ScheduleFreeRAdam", "ScheduleFreeRAdam", ADAM | {"r": 0.5}),
    "schedule_freeradam loud": Reference(
        "ScheduleFreeRAdam", "ScheduleFreeRAdam", ADAM | {"r": 0.5, "silent_sgd_phase": False}
    ),
    "dadaptsgd": Reference("DAdaptSGD", "DAdaptSGD", {"lr": 0.9, "momentum": 0.8, "d0": 1e-2, "weight_decay": 0.05}),
    "dadaptsgd decoupled": Reference(
        "DAdaptSGD",
        "DAdaptSGD",
        {"lr": 0.9, "momentum": 0.8, "d0": 1e-2, "weight_decay": 0.05, "growth_rate": 1.3, "weight_decouple": True},
    ),
    "dadapt_adam": Reference(
        "DAdaptAdam", "DAdaptAdam", ADAM | {"lr": 0.9, "d0": 1e-2, "bias_correction": True, "growth_rate": 1.3}
    ),
    "dadapt_adam decoupled": Reference(
        "DAdaptAdam", "DAdaptAdam", ADAM | {"lr": 0.9, "d0": 1e-2, "weight_decouple": True}
    ),
    "dadapt_lion": Reference("DAdaptLion", "DAdaptLion", LION | {"lr": 0.9, "d0": 1e-3}),
    "dadapt_lion decoupled": Reference(
        "DAdaptLion", "DAdaptLion", LION | {"lr": 0.9, "d0": 1e-3, "weight_decouple": True}
    ),
    "dadapt_adan": Reference(
        "DAdaptAdan", "DAdaptAdan", ADAM | {"lr": 0.9, "betas": (0.9, 0.8, 0.95), "d0": 1e-2}, {"variant": "po"}
    ),
    "dadapt_adan decoupled": Reference(
        "DAdaptAdan",
        "DAdaptAdan",
        ADAM | {"lr": 0.9, "betas": (0.9, 0.8, 0.95), "d0": 1e-2, "growth_rate": 1.2, "weight_decouple": True},
        {"variant": "po"},
    ),
    "dadapt_ada_grad": Reference(
        "DAdaptAdaGrad",
        "DAdaptAdaGrad",
        {"lr": 0.9, "momentum": 0.7, "d0": 1e-2, "eps": 1e-3, "growth_rate": 1.3, "weight_decay": 0.05},
    ),
    "dog": Reference(
        "DoG", from_optax("dog", init_step="heuristic"), {"learning_rate": 0.9, "init_step": 1e-2}, needs="optax"
    ),
    "dowg": Reference(
        "DoWG", from_optax("dowg"), {"learning_rate": 0.9, "eps": 1e-2, "weight_decay": 0.05}, needs="optax"
    ),
    "cocob": Reference("COCOB", from_optax("cocob"), {"alpha": 5.0, "eps": 1e-6, "weight_decay": 0.05}, needs="optax"),
    "acprop": Reference(
        "ACProp",
        from_optax("acprop"),
        {"learning_rate": 0.02, "b1": 0.8, "b2": 0.9, "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.05},
        {"variant": "optax"},
        needs="optax",
    ),
    "optimistic_gradient_descent": Reference(
        "OptimisticGradientDescent",
        from_optax("optimistic_gradient_descent"),
        {"learning_rate": 0.02, "alpha": 0.8, "beta": 0.6},
        needs="optax",
    ),
    "ortho_grad": Reference("OrthoGrad(SGD)", wraps("OrthoGrad"), {"lr": 0.02, "momentum": 0.7}, shapes=ARRAYS),
    "wsam": Reference(
        "WSAM(SGD)", wraps("WSAM"), {"lr": 0.02, "momentum": 0.7, "rho": 0.1, "gamma": 0.6}, closure=True
    ),
    "wsam mixed": Reference(
        "WSAM(SGD)",
        wraps("WSAM"),
        {"lr": 0.02, "momentum": 0.7, "rho": 0.1, "gamma": 0.4, "decouple": False, "adaptive": True},
        closure=True,
    ),
    "friendlysam": Reference(
        "FriendlySAM(SGD)",
        wraps("FriendlySAM"),
        {"lr": 0.02, "momentum": 0.7, "rho": 0.1, "sigma": 0.8, "lmbda": 0.7, "adaptive": True},
        closure=True,
    ),
    "looksam": Reference(
        "LookSAM(SGD)",
        wraps("LookSAM"),
        {"lr": 0.02, "momentum": 0.7, "rho": 0.1, "k": 3, "alpha": 0.6},
        shapes=ARRAYS,
        closure=True,
    ),
}
