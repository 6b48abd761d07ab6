"""Rules over sequences as torch modules: one token at a time, or all of them at once."""

from dotopt.runtime.sequence.attend import attend, attend_token
from dotopt.runtime.sequence.module import SequenceModule
from dotopt.runtime.sequence.rule import Functions, Input, Memory, SequenceRule
from dotopt.runtime.sequence.scan import Pair, Read, before, low_rank, scan

__all__ = [
    "Functions",
    "Input",
    "Memory",
    "Pair",
    "Read",
    "SequenceModule",
    "SequenceRule",
    "attend",
    "attend_token",
    "before",
    "low_rank",
    "scan",
]
