"""`dotopt lift`: what is proved equal, what is told apart and with which numbers, what is refused and where."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from dotopt.compiler.emit.text.format import format_text
from dotopt.runtime.cli import main
from dotopt.runtime.lift.answer import answer
from dotopt.runtime.lift.lift import lift, named
from dotopt.runtime.lift.numbers import Refused

FOLDER = str(Path(__file__).parent)
if FOLDER not in sys.path:
    sys.path.insert(0, FOLDER)

from lifted import classes  # noqa: E402


@pytest.mark.parametrize(
    "cls", [torch.optim.Adagrad, torch.optim.Adamax, classes.Odd, classes.Coupled], ids=lambda c: c.__name__
)
def test_proved_equal(cls: type[torch.optim.Optimizer]) -> None:
    found = answer(cls, relate=False)
    assert found.status == "proved"
    assert found.apart < 1e-11
    assert format_text(found.lifted.text) == found.lifted.text


def test_sgd_is_as_a_person_writes_it() -> None:
    text = lift(torch.optim.SGD).text
    assert "g = ∇f(θ) + λ*θ" in text.replace("  ", " ")
    assert "b' = g if t == 1 else μ*b + (1 - τ)*g" in text
    assert "state b as momentum_buffer : like θ = 0" in text
    assert "option nesterov = false" in text


def test_an_error_is_told_from_the_rule_of_that_name() -> None:
    (relation,) = answer(classes.AdamW).relations
    assert (relation.rule, relation.how) == ("AdamW", "different")
    found = relation.difference
    assert found is not None and found.step == 1 and found.start == (1.0,)
    left, right = found.left[0], found.right[0]  # of the class, and of AdamW
    eta, decay = found.settings["η"], found.settings["λ"]
    assert right == pytest.approx(1 - eta * decay - eta, rel=1e-6)
    assert abs(left - right) > eta


def test_an_order_of_two_lines_is_told() -> None:
    (relation,) = answer(classes.Lion).relations
    assert (relation.rule, relation.how) == ("Lion", "different")
    assert relation.difference is not None


def test_time_flags_and_integers() -> None:
    found = answer(classes.Warmup, relate=False)
    assert found.status == "proved"
    assert "hyper  warmup : int" in found.lifted.text or "hyper warmup : int" in found.lifted.text
    assert "if t <= 2 else" in found.lifted.text


@pytest.mark.parametrize(
    ("name", "reason"),
    [("Branches", "branches on the value of a tensor"), ("Reads", "reads the value of a tensor")],
)
def test_data_in_python_is_refused_with_its_line(name: str, reason: str) -> None:
    source = Path(classes.__file__).read_text(encoding="utf-8").splitlines()
    with pytest.raises(Refused, match=reason) as caught:
        lift(getattr(classes, name))
    line = int(caught.value.place.rpartition(" ")[2])
    assert "classes.py" in caught.value.place
    assert "the line that is named" in source[line - 1]


def test_a_hidden_number_is_no_constant() -> None:
    with pytest.raises(Refused, match="origin"):
        lift(classes.Hidden)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "odd.opt"
    assert main(["lift", "lifted.classes.Odd", "-o", str(out), "--alone"]) == 0
    assert "proved equal to the traced program" in capsys.readouterr().out
    assert main(["check", str(out)]) == 0
    assert main(["lift", "lifted.classes.Branches"]) == 2
    assert "classes.py, line" in capsys.readouterr().err


def test_names_that_are_no_optimizer() -> None:
    with pytest.raises(Refused, match="no class"):
        named("torch.optim.Nothing")
    with pytest.raises(Refused, match="no subclass"):
        named("torch.nn.Linear")
