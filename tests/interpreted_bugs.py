"""Run by test_injected_bugs.py in a process whose Triton interprets kernels; prints one line of JSON a bug.

TRITON_INTERPRET=1 python interpreted_bugs.py
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

import dotopt.stdlib as stdlib
from dotopt.runtime.backends import choice, triton
from dotopt.runtime.property.agreement import agreement
from dotopt.runtime.property.outcome import Failed
from dotopt.runtime.property.search import Budget

# the rule that has a place for it; lines of the emitted Triton: pattern, replacement
BUGS = {
    "the last entry of a tail is left out": ("Signum", r"inside = i < size", "inside = i < size - 1"),
    "the first block of a full piece is left out": (
        "Signum", r"(!= 0:\n(?:[^\n]*\n)*?\s+for block in range\()0, PIECE", r"\1BLOCK, PIECE"),
    "a state is not stored": ("Signum", r"\n *tl\.store\(m_at[^\n]*", ""),
    "maximize is ignored": ("Signum", r"scale \* tl\.load", "tl.load"),
    "old momentum for new": ("AdamW", r"mhat = m_next", "mhat = m"),
    "eps inside the root": ("AdamW", r"tl\.sqrt(_rn)?\(what\) \+ eps", r"tl.sqrt\1(what + eps)"),
    "sums miss the last piece": ("LAMB", r"(tl\.load\(first \+ tensor \+ 1\))", r"\1 - 1"),
}  # fmt: skip


def caught(name: str, right: str, wrong: str) -> tuple[bool, bool]:
    """Whether the text changed, and whether wrong numbers were found."""
    changed = []

    def emit(*arguments: object) -> object:
        made = real(*arguments)
        text = re.sub(right, wrong, made.text)
        changed.append(text != made.text)
        return replace(made, text=text)

    real, triton.emit = triton.emit, emit
    choice._kernels.clear()
    try:
        found = agreement(getattr(stdlib, name), "triton", "float64", Budget(40, seed=1, shrinking=0), 150)
    finally:
        triton.emit = real
    return any(changed), isinstance(found, Failed) and "is wrong after step" in found.message


for bug, (rule, pattern, replacement) in BUGS.items():
    print(json.dumps([bug, *caught(rule, pattern, replacement)]), flush=True)
