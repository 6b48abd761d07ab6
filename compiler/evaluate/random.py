"""Random numbers as a pure function of (seed, step, position, place, entry): Philox 4x32-10.

    counter = (entry, step, position of the draw in the file, place)      four 32-bit words
    key     = (low word of the seed, high word of the seed)
    u_i     = (x_i + 1/2)/2³²                                             in (0, 1), never an end
    normal  = √(-2 ln u_0) cos(2π u_1)                                    Box and Muller

`place` is the CRC-32 of the name of the tensor, role or family member; the empty name is 0. Every backend computes the
same words, so replay, shards and order of evaluation do not matter.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

Words = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]


def philox(counter: Sequence[Any], key: tuple[int, int]) -> Words:
    """Four arrays of 32-bit words (as uint64) for the counters, which are broadcast against each other.

    >>> [hex(int(word)) for word in philox((0, 0, 0, 0), (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    mask, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.asarray(word, dtype=np.uint64) & mask for word in counter))
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = c0 * np.uint64(MULTIPLIERS[0]), c2 * np.uint64(MULTIPLIERS[1])
        c0, c1, c2, c3 = (p1 >> shift) ^ c1 ^ np.uint64(k0), p1 & mask, (p0 >> shift) ^ c3 ^ np.uint64(k1), p0 & mask
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def place(name: str) -> int:
    """The word of a tensor, role or family member."""
    return zlib.crc32(name.encode()) if name else 0


def uniforms(
    seed: int, step: int, position: int, where: int, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two independent uniform numbers in (0, 1) for each of `count` entries.

    >>> a, b = uniforms(seed=1, step=1, position=0, where=0, count=3)
    >>> bool((a > 0).all() and (b < 1).all())
    True
    """
    words = philox((np.arange(count), step, position, where), (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF))
    first, second = ((word.astype(np.float64) + 0.5) / 2**32 for word in words[:2])
    return first, second


def draw(
    law: str, args: Sequence[Any], shape: tuple[int, ...], *, seed: int, step: int, position: int, where: int = 0
) -> Any:
    """What a law gives at one place: an array of `shape`, or a tuple of elements for `choose` and `permutation`.

    Raises ValueError for a law that has no numbers (`batch`).

    >>> draw("permutation", [(1, 2, 3)], (), seed=0, step=1, position=0)
    (3, 1, 2)
    """
    count = int(np.prod(shape, dtype=int))
    if law in ("choose", "permutation"):
        elements = tuple(args[0])
        keys, _ = uniforms(seed, step, position, where, len(elements))
        order = sorted(range(len(elements)), key=lambda i: keys[i])
        taken = order if law == "permutation" else sorted(order[: int(args[1])])
        return tuple(elements[i] for i in taken)
    u, w = (numbers.reshape(shape) for numbers in uniforms(seed, step, position, where, count))
    match law:
        case "normal":
            mean, deviation = args or (0.0, 1.0)
            return mean + deviation * (np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * w))
        case "uniform":
            low, high = args or (0.0, 1.0)
            return low + (high - low) * u
        case "bernoulli":
            return u < args[0]
        case "rademacher":
            return np.where(u < 0.5, -1.0, 1.0)
        case "categorical":
            return np.searchsorted(np.cumsum(args[0]), u, side="right").astype(float)
    raise ValueError(f"`{law}` is not a law with numbers")
