"""Sums over families, in compiled function rules beside the reference interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import dotopt
from dotopt.compiler.evaluate import Simulation
from dotopt.compiler.lower import lower
from dotopt.compiler.text.library import Library, load

HEAD = '''"""Sums."""
rule Sums
objective f[i in tasks]
param θ : real[...]
hyper β in [0, 1) = 0.3
output d : like θ
g[i] = ∇f[i](θ)
n[i] = norm(g[i], over=model)
G[i, j] = dot(g[i], g[j], over=model)
'''

BODIES = {
    "a mean of others, for each": """
a[i] = mean(G[i, j] for j if j != i)
d = sum(a[i]*g[i] for i)
""",
    "a mean where something holds": """
d = mean(g[i] for i if n[i] > 1)
""",
    "a number for each": """
d = sum(2 for i)*g[1] + mean(t for i)*sum(g[i] for i)
""",
    "largest of others, for each": """
a[i] = max(G[i, j] for j if j != i)
b[i] = min(G[i, j] for j)
d = sum((a[i] - b[i])*g[i] for i)
""",
    "the first of the largest": """
k = argmax(n[i] for i)
d = sum(g[i] for i if i == k)
""",
    "pairs in order": """
d = sum(G[i, j]*g[j] for i, j if i < j)
""",
    "outer of pairs": """
s[i, j] = G[i, j]/(n[i]*n[j])
d = sum(s[i, j]*(g[i] - g[j]) for i, j if i < j)
""",
    "a fold inside a fold": """
d = sum(sum(G[i, j] for j if j > i)*g[i] for i)
""",
    "states of a family": """
state m[i] : like θ = 0
state c : real = 1
m'[i] = β*m[i] + g[i]
c' = c + mean(n[i] for i)
d = c'*sum(m'[i] for i)
""",
    "a loop over members": """
iterate p[i] from g[i] for j in 1..2:
  p'[i] = p[i] - β*G[i, j]*g[j]
d = mean(p[i] for i)
""",
    "a loop with a weight for each": """
iterate w[i] from 1/size(tasks) repeat 3:
  w'[i] = w[i]*exp(-β*sum(G[i, j]*w[j] for j))
d = sum(w[i]*g[i] for i)/sum(w[i] for i)
""",
    "chosen members": """
S ~ choose(tasks, 2)
d = sum(n[i]*g[i] for i in S) + mean(g[i] for i in S)
""",
    "an order": """
o ~ permutation(tasks)
iterate p from 0*θ for j in o:
  p' = β*p + g[j]
d = p
""",
}


@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
@pytest.mark.parametrize("name", BODIES)
def test_compiled_sums_are_those_of_the_reference(name: str, tasks: int, tmp_path: Path) -> None:
    if tasks == 1 and ("members" in name or "loop over" in name):
        with pytest.raises(ValueError if "chosen" in name else IndexError):  # there is no second task
            compared(name, tasks, tmp_path)
        return
    compared(name, tasks, tmp_path)


def compared(name: str, tasks: int, tmp_path: Path) -> None:
    """Three steps of the rule, compiled and in the reference."""
    path = tmp_path / "sums.opt"
    path.write_text(HEAD + BODIES[name].lstrip(), encoding="utf-8")
    rule = dotopt.load(path).Sums(seed=3)
    run = Simulation(lower(load(path), library=Library(tmp_path)), np.zeros(4), seed=3, sets={"tasks": tasks})
    rng = np.random.default_rng(tasks)
    for _ in range(3):
        J = rng.normal(size=(tasks, 4))
        found = rule(torch.tensor(J))
        wanted = run.step(oracles={"∇f": lambda i, x, J=J: J[i - 1]})["d"]
        torch.testing.assert_close(
            found, torch.tensor(np.broadcast_to(wanted, 4)), rtol=1e-12, atol=1e-12, equal_nan=True
        )
