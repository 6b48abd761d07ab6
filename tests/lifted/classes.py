"""Optimizers that nobody has published, for the tests of `dotopt lift`: odd styles, planted errors, what is refused."""

from __future__ import annotations

import math

import torch
from torch.optim import Optimizer


class Odd(Optimizer):
    """Adam with decoupled decay in another style: lists, lerp, addcdiv, the step count in a tensor."""

    def __init__(self, params, lr: float = 2e-3, betas=(0.8, 0.99), eps: float = 1e-6, weight_decay: float = 0.0):
        if lr < 0:
            raise ValueError("lr")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            moving = [p for p in group["params"] if p.grad is not None]
            for p in moving:
                if not self.state[p]:
                    self.state[p] = {
                        "step": torch.zeros(()),
                        "mean": torch.zeros_like(p),
                        "square": p.new_zeros(p.shape),
                    }
            states = [self.state[p] for p in moving]
            grads = [p.grad for p in moving]
            means, squares = [s["mean"] for s in states], [s["square"] for s in states]
            torch._foreach_add_([s["step"] for s in states], 1)
            torch._foreach_mul_(moving, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_lerp_(means, grads, 1 - beta1)
            torch._foreach_mul_(squares, beta2)
            torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)
            for p, state in zip(moving, states, strict=False):
                t = state["step"].item()
                scale = math.sqrt(1 - math.pow(beta2, t))
                denominator = (state["square"].sqrt() / scale).add_(group["eps"])
                p.data.addcdiv_(state["mean"], denominator, value=-group["lr"] / (1 - beta1**t))


class AdamW(Optimizer):
    """AdamW with an error: the second correction has the first decay rate."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            group["step"] = group.get("step", 0) + 1
            for p in group["params"]:
                state = self.state[p]
                if "exp_avg" not in state:
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
                m, v = state["exp_avg"], state["exp_avg_sq"]
                p.mul_(1 - group["lr"] * group["weight_decay"])
                m.mul_(beta1).add_(p.grad, alpha=1 - beta1)
                v.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                m_hat, v_hat = m / (1 - beta1 ** group["step"]), v / (1 - beta1 ** group["step"])
                p.addcdiv_(m_hat, v_hat.sqrt_().add_(group["eps"]), value=-group["lr"])


class Lion(Optimizer):
    """Lion with an error: the momentum is updated before the sign is taken."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if len(state) == 0:
                    state["exp_avg"] = torch.zeros_like(p)
                state["exp_avg"].lerp_(p.grad, 1 - group["betas"][1])
                update = state["exp_avg"] * group["betas"][0] + p.grad * (1 - group["betas"][0])
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update.sign_(), alpha=-group["lr"])


class Branches(Optimizer):
    """A step that asks for the value of a tensor."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad.norm() > 1:  # the line that is named
                    p.sub_(p.grad / p.grad.norm(), alpha=group["lr"])
                else:
                    p.sub_(p.grad, alpha=group["lr"])


class Reads(Branches):
    """A step that takes a tensor's value as a number."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                size = p.grad.abs().mean().item()  # the line that is named
                p.sub_(p.grad, alpha=group["lr"] / (1 + size))


class Coupled(Branches):
    """A step of one tensor that depends on the other tensors."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            total = sum(p.grad.pow(2).sum() for p in group["params"]).sqrt()
            for p in group["params"]:
                p.sub_(p.grad / (total + 1), alpha=group["lr"])


class Warmup(Optimizer):
    """Time in conditions, an integer hyperparameter, a flag, and a first step of its own."""

    def __init__(self, params, lr: float = 0.1, warmup: int = 5, momentum: float = 0.9, normalize: bool = False):
        super().__init__(params, {"lr": lr, "warmup": warmup, "momentum": momentum, "normalize": normalize})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["step"] = state.get("step", 0) + 1
                t = state["step"]
                scale = min(1.0, t / group["warmup"])
                g = p.grad / (p.grad.norm() + 1e-8) if group["normalize"] else p.grad
                if "velocity" not in state:
                    state["velocity"] = g.clone()
                else:
                    state["velocity"].mul_(group["momentum"]).add_(g)
                step = g if t <= 2 else state["velocity"]
                p.add_(step, alpha=-group["lr"] * scale)


class Hidden(Branches):
    """A number that a conversion hides from a trace: what it does with other numbers is not told by one."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            lr = torch.tensor([float(str(group["lr"]))], dtype=torch.float64)
            for p in group["params"]:
                p.sub_(p.grad * lr.numpy().item())
