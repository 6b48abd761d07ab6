"""Any name may stand in a file of any kind: what is computed does not hang on what things are called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import dotopt
from dotopt.compiler.text.errors import OptError

WORDS = (
    "torch", "hyper", "part", "dtype", "device", "matrices", "scalars", "functional", "math", "tuple", "enumerate",
    "y_next", "torch2", "G", "F_l", "step", "value", "choose", "occurs", "float", "int", "max", "abs", "len",
)  # fmt: skip


def two_layers(module: Any) -> Any:
    return module([torch.nn.Identity(), torch.nn.Identity()])(torch.ones(2)).tolist()


def chosen(module: Any) -> int:
    return int(module.rule.choose([0.1, 0.5, 0.4], [1], module().hyper))


LAYERS = (
    "rule Q\nfunction {f}[l in layers](x) : like x\ninput {h} : real[d]\nhyper {c} = 0.5\noutput y : like {h}\n\n"
    "iterate {x} from {h}, p from 0 for l in layers:\n  p' = {c}*p + {f}[l]({x})\n  {x}' = {x} + p'\n\ny = {x}\n"
)
DECODING = (
    "rule Q\ninput p : real[vocab]\nhyper {k} : int > 0 = 3\ninput prompt : list[int]\n"
    "state {x} : list[int] = first prompt\noutput y : int\n"
    "y = argmax(p[c] - (0.5 if c in {x} else 0) for c in top(p, {k}))\n{x}' = append({x}, y)\n"
)
PLAIN = {"f": "F", "h": "h", "c": "c", "x": "x", "k": "k"}
KINDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "an input of a call": (
        "rule Q\ninput {n} : real[d]\ninput w : real[d, d]\nhyper c = 0.5\noutput y : real[d]\n"
        "u = tanh({n}) + c\ny = u @ inverse(I + w) + u*u*c + sigmoid(c)\n",
        lambda module: module()(torch.ones(2), torch.eye(2)).tolist(),
    ),
    "a parameter of a formula": (
        "formula Q({n} : real[d], w : real[d, d], c=0.5) = tanh({n}) @ inverse(I + w) + sigmoid(c) + |{n}|\n",
        lambda function: function(torch.ones(2), torch.eye(2)).tolist(),
    ),
    "the input of layers": (LAYERS.format_map(PLAIN | {"h": "{n}"}), two_layers),
    "the variable of layers": (LAYERS.format_map(PLAIN | {"x": "{n}"}), two_layers),
    "the modules of layers": (LAYERS.format_map(PLAIN | {"f": "{n}"}), two_layers),
    "a knob of layers": (LAYERS.format_map(PLAIN | {"c": "{n}"}), two_layers),
    "the tokens of a decoder": (DECODING.format_map(PLAIN | {"x": "{n}"}), chosen),
    "a knob of a decoder": (DECODING.format_map(PLAIN | {"k": "{n}"}), chosen),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_name(kind: str, tmp_path: Path) -> None:
    text, run = KINDS[kind]

    def found(name: str) -> Any:
        path = tmp_path / f"{name}_file.opt"
        path.write_text(text.replace("{n}", name))
        try:
            return run(dotopt.load(path).Q)
        except OptError as error:  # a word of the language, or a function that the file calls itself
            assert error.diagnostics[0].code in ("E123", "E225"), error
            return wanted

    wanted: Any = None
    wanted = found("q0")
    for name in WORDS:
        assert found(name) == wanted, name
