"""Small rules over sequences that random programs once found wrong, each against the judge in every form."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.sequence_rules import agree, loaded

HEAD = '''"""Found by random programs."""
rule Small
input γ in [0, 1]
input k : real[dk]
input q : real[dk]
input v : real[dv]
'''

FOUND = {
    "what is frozen, as an output": (
        "state m : real[dk] = first k\nstate s : real[dk] = first m\noutput o1 : real[dk]\noutput o2 : real[dk]\n"
        "output o3 : real[dv]\nm' = γ*m + k\ns' = m' every 4\no1 = m + q\no2 = s\no3 = v\n"
    ),
    "a number as the weight of a window": (
        "state z : real[dv, dk] = 0\noutput o : real[dv]\nz' = γ*z + sum(0.9*outer(v, k) over last 3)\no = z' @ q\n"
    ),
    "a state that no input moves": (
        "state x : real = 1\nstate y : real[dv] = 2\noutput o : real[dv]\noutput p : real\n"
        "x' = 0.5*x\ny' = x*y + 0.1\no = y'*γ + y + dot(k, q)*v\np = x'\n"
    ),
    "a memory that no input moves": (
        "state M : real[dv, dk] = 1\nstate N : real[dv, dk] = 0\noutput o : real[dv]\n"
        "M' = 0.5*M\nN' = γ*N + 0.1\no = M' @ q + M @ k + N' @ q + v\n"
    ),
    "a vector that is the same at all tokens": (
        "state M : real[dv, dk] = 0.5\nstate x : real[dk] = 1\nstate N : real[dv, dk] = 0\noutput o : real[dv]\n"
        "j = 0*k + 1\nM' = M - 0.1*outer(M @ j, j)\nx' = x every 4\nN' = γ*N + outer(v, x)\no = M' @ q + N' @ q\n"
    ),
    "a state of the time alone": (
        "state y : real[dv] = 1\nstate x : real = 1\noutput o : real[dv]\noutput p : real\n"
        "y' = 0.5*y\nx' = 1/(1 + t)\no = x'*γ*y' + dot(k, q)*v\np = x + γ\n"
    ),
    "a transposed read of another memory that was written": (
        "state B : real[dv, dk] = 0.1\nstate S : real[dv, dk] = 0\noutput o : real[dv]\n"
        "B' = B - γ*outer(B @ k - v, k)\nS' = S - 0.1*S @ outer(k, k) + outer(v, B'ᵀ @ v)\no = B' @ q + S @ q\n"
    ),
    "a window whose weight is simplified in one form only": (
        "state R : real[dv, dk] = 0\noutput o : real[dv]\noutput p : real[dv]\n"
        "R' = (1/(1 + ‖k‖))*R + sum(min(γ, γ)*outer(v, k) over last 3)\no = R @ q\np = γ*v\n"
    ),
    "a number that fires": (
        "state P : real = 0\nstate R : real[dk] = first q\noutput o : real[dk]\noutput p : real[dv]\n"
        "P' = 0.5 every 3\nR' = max(0.9*R, P')\no = R'*γ + k\np = v\n"
    ),
    "zeros that only a simplification makes": (
        "state E : real[dv, dk] = 0.5\noutput o : real[dv]\nE' = E - γ*outer(E @ k - (v - v), k)\no = E' @ q\n"
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_found(tmp_path: Path, name: str) -> None:
    agree(tmp_path, HEAD + FOUND[name], parallel="max(" not in FOUND[name])


def test_a_start_that_hangs_on_the_time(tmp_path: Path) -> None:
    text = "state T : real[dk] = 0.5\nstate y : real[dk] = first T'\noutput o : real[dk]\noutput p : real[dv]\n"
    agree(tmp_path, HEAD + text + "T' = q every 4\ny' = γ*y + k\no = y'\np = v\n", parallel=False)


def test_an_axis_whose_size_nothing_tells(tmp_path: Path) -> None:
    head = HEAD.replace("input v : real[dv]\n", "")
    text = head + "state s : real[n] = 1\noutput o : real[n]\ns' = γ*s\no = s'*(k @ q)\n"
    rule = loaded(tmp_path, text)()
    given = {"gamma": torch.rand(5), "k": torch.rand(5, 3), "q": torch.rand(5, 3)}
    with pytest.raises(ValueError, match=r"no input tells the size of the axis `n` of `s`"):
        rule(**given)
    state = rule.initial_state((), n=2)
    assert rule(**given, state=state).shape == (5, 2)
    assert rule(**given, state=state, resets=[2]).shape == (5, 2)
