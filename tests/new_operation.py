"""Adds `sech`, 1/cosh, as a row, then uses it everywhere: run by `test_operations` in a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from dotopt.compiler.ops import absent, add
from dotopt.compiler.ops import typing as t
from dotopt.compiler.ops.row import PLAIN, Axiom, Call, Inline, Operation, Template

BODY = """\
def sech_(x):
    e = tl.exp(-tl.abs(x))
    return 2.0 * e / (1.0 + e * e)"""


def _enclosure(iv: Any, x: Any) -> Any:
    return 2 / (iv.exp(x) + iv.exp(-x))


add(
    Operation(
        name="sech", kind="number", type=t.real, means="the hyperbolic secant",
        definition=absent("it has laws of its own"), derivative=("-sech(x)*tanh(x)",), degree=PLAIN, parity="even",
        monotone=absent("it rises to 1 at 0, then falls"), smooth="smooth", range="(0, 1]", domain="true",
        known=(("0", "1"),), axioms=(Axiom("sech(x)*(2 + x*x) <= 2", "the series of cosh"),),
        numpy=lambda np, x: 1 / np.cosh(x), exact=lambda mp, x: mp.sech(x), enclosure=_enclosure,
        sympy=lambda sp, x: sp.sech(x),
        opt=Call("sech"), latex=Call("sech"), torch=Template("1/torch.cosh({0})"),
        c=Inline("return 1/cosh##F(a);"), triton=Inline(BODY),
    )
)  # fmt: skip

RULE = """\
rule Sech
param x : real[...]
objective f
hyper η as lr > 0 = 0.1
x' = x - η*sech(∇f(x))*sech(η)

claim bounded:
  show sech(η) <= 1

claim even:
  show sech(-η) == sech(η)

claim series:
  show sech(η) <= 2/(2 + η²)

claim wrong:
  show sech(η) >= 0.99
"""


def main(folder: Path) -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    os.environ["DOTOPT_CACHE"] = str(folder / "cache")
    import numpy as np
    import torch

    import dotopt
    from dotopt.compiler.analysis.intervals import interval
    from dotopt.compiler.calculus import gradient
    from dotopt.compiler.evaluate import evaluate
    from dotopt.compiler.ir import leaf, node

    path = folder / "sech.opt"
    path.write_text(RULE, encoding="utf-8")
    print("claims:", *(claim.status for claim in dotopt.check(path).claims))
    x = leaf("free", "x")
    print("derivative:", gradient(node("sech", x), x))
    print("interval:", interval(node("sech", x)))
    print("reference:", abs(float(evaluate(node("sech", x), {x: 0.5})) - 1 / np.cosh(0.5)) < 1e-15)
    from dotopt.runtime.commands.forms import code
    from dotopt.runtime.report.explain import explain

    facts = explain(path)
    for form in ("latex", "torch", "cpu", "triton"):
        print(f"{form}:", " ".join(code(facts, form).split()))
    Sech = dotopt.load(path).Sech
    for backend in ("torch", "cpu", "triton"):
        p = torch.tensor([0.3, -1.2, 4.0], requires_grad=True)
        p.grad = torch.tensor([0.5, -2.0, 0.0])
        want = p.detach() - 0.1 / torch.cosh(p.grad) / np.cosh(0.1)
        Sech([p], lr=0.1, backend=backend).step()
        print(f"stepped with {backend}:", torch.allclose(p.detach(), want, rtol=1e-6))


main(Path(sys.argv[1]))
