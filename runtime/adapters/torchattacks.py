"""Compiled attacks as `torchattacks.attack.Attack`.

from dotopt.runtime.adapters.torchattacks import attack
adversarial = attack(model, MIFGSM(eps=8/255))(images, labels)
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torchattacks.attack import Attack

from dotopt.runtime.functions.solve import Solver


class Adapted(Attack):  # type: ignore[misc]
    """A compiled attack in the interface of torchattacks, targeted ones included."""

    def __init__(self, model: nn.Module, rule: Solver) -> None:
        super().__init__(rule.rule.name, model)
        self.supported_mode = ["default", "targeted"]
        self.rule = rule

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """The adversarial images, of the shape of `images`."""
        sign = -1.0 if self.targeted else 1.0
        wanted = self.get_target_label(images, labels) if self.targeted else labels

        def loss(x: Tensor, y: Tensor) -> Tensor:
            return sign * functional.cross_entropy(self.get_logits(x), y, reduction="sum")

        found: Tensor = self.rule(loss, images, wanted)
        return found


def attack(model: nn.Module, rule: Solver) -> Adapted:
    """The torchattacks attack on `model` of a compiled one."""
    return Adapted(model, rule)
