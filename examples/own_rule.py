"""A rule of one's own, from a string to a trained model: what a paper's box becomes.

    python examples/own_rule.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import dotopt

BELIEF = '''"""SignBelief: a sign step, damped where the gradient disagrees with its mean."""
rule SignBelief

objective f
param  θ : real[...]
hyper  η  as lr       >= 0      = 1e-2
hyper  β1 as betas[0] in [0, 1) = 0.9
hyper  β2 as betas[1] in [0, 1) = 0.99
hyper  ε  as eps      >= 0      = 1e-8
state  m : like θ = 0
state  s : like θ = 0

g  = ∇f(θ)
m' = β1*m + (1 - β1)*g
s' = β2*s + (1 - β2)*|g - m'|
θ' = θ - η*m'/(|m'| + s' + ε)

claim bounded_step:
  show |θ' - θ| <= η
'''


def main() -> None:
    """Write the file, check it, explain it, run it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sign_belief.opt"
        path.write_text(BELIEF, encoding="utf-8")
        for claim in dotopt.check(path).claims:
            print(f"claim {claim.name}: {claim.status}")
        rule = dotopt.load(path).SignBelief
        x = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
        optimizer = rule([x], lr=0.05)
        for _ in range(200):
            optimizer.zero_grad()
            (x**4).sum().backward()
            optimizer.step()
        print(f"reached {x.detach().tolist()}")
        print(optimizer)


if __name__ == "__main__":
    main()
