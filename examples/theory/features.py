"""Grokking's features: every node that climbs the energy of modular addition ends on one frequency.

Ascent on the sphere from random starts; the share of the largest frequency in what was learnt, and the energy there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

from dotopt.stdlib import Li2Ascent


def main() -> None:
    """Starts, and where they end."""
    given = arguments(__doc__ or "")
    M, starts, steps = (7, 6, 300) if given.quick else (23, 24, 1500)
    one = torch.eye(M, dtype=torch.float64)
    X = torch.stack([torch.cat([one[a], one[b]]) for a in range(M) for b in range(M)])
    Y = torch.stack([one[(a + b) % M] for a in range(M) for b in range(M)])
    shares, energies, found = [], [], set()
    for seed in range(starts):
        w = torch.randn(2 * M, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        v, energy = Li2Ascent(lr=0.5, steps=steps)(X, Y, w)
        power = torch.fft.rfft(v[:M]).abs() ** 2
        shares.append(float(power.max() / power.sum()))
        energies.append(float(energy))
        found.add(int(power.argmax()))
    said("least share of one frequency", min(shares), "1")
    said("frequencies that were found", len(found), f"most of {(M - 1) // 2}")
    said("energy at the end / (M/4)", sum(energies) / starts / (M / 4), "1")
    times = (0, 10, 30, 60, 100, 150, 300)
    series = {}
    for seed in range(3):
        w = torch.randn(2 * M, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        ascents = [Li2Ascent(lr=0.5, steps=steps)(X, Y, w)[0][:M] for steps in times]
        powers = [torch.fft.rfft(v).abs() ** 2 for v in ascents]
        series[f"start {seed}"] = (list(times), [float(power.max() / power.sum()) for power in powers])
    curves(given.out / "features.png", series, "Share of the largest frequency", "step", "share", points=True)


if __name__ == "__main__":
    main()
