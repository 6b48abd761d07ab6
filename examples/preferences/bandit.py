"""Accelerated preference optimisation: extrapolating each round's policy multiplies the rate.

A bandit of 20 answers with a fixed reward, every round solved exactly; what is lost against the best answer.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

from dotopt.stdlib import PreferenceRounds


def main() -> None:
    """The loss after each round for three strengths of the extrapolation."""
    given = arguments(__doc__ or "")
    answers, most = 20, 10 if given.quick else 20
    start = torch.full((answers,), 1 / answers, dtype=torch.float64).log()
    r = torch.linspace(0, 1, answers, dtype=torch.float64)
    series, at_ten, strength = {}, {}, {}
    for alpha in (0.0, 0.3, 0.6):
        lost = []
        for rounds in range(most + 1):
            rule = PreferenceRounds(alpha=alpha, beta=1.0, rounds=rounds)
            lost.append(float(1 - rule(start, r[:, None].expand(-1, answers))[0].exp() @ r))
        series[f"α = {alpha}"] = (list(range(most + 1)), lost)
        at_ten[alpha] = lost[10]
        policy = PreferenceRounds(alpha=alpha, beta=1.0, rounds=10)(start, r[:, None].expand(-1, answers))[0]
        strength[alpha] = float(policy[-1] - policy[0])
    for alpha, found in strength.items():
        formula = 10 / (1 - alpha) - alpha * (1 - alpha**10) / (1 - alpha) ** 2
        said(f"plain rounds that 10 are worth, α = {alpha}", found, f"{formula:.4g} = t/(1-α) - α(1-α^t)/(1-α)²")
    for alpha, lost in at_ten.items():
        said(f"reward lost after 10 rounds, α = {alpha}", lost, "less with more extrapolation")
    curves(given.out / "bandit.png", series, "Rounds of preference optimisation", "round", "reward lost", log=True)


if __name__ == "__main__":
    main()
