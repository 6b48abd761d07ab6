"""Rules over sequences as torch modules: one token at a time, or all of them at once."""

from dotopt.runtime.sequence.attend import attend, attend_token
from dotopt.runtime.sequence.chunks import Chunks, Term
from dotopt.runtime.sequence.module import SequenceModule
from dotopt.runtime.sequence.recent import recent, recent_token
from dotopt.runtime.sequence.rule import Functions, Input, Memory, SequenceRule
from dotopt.runtime.sequence.scan import at_first, before, choose, every, held, peaks, scan, times, together

__all__ = [
    "Chunks",
    "Functions",
    "Input",
    "Memory",
    "SequenceModule",
    "SequenceRule",
    "Term",
    "at_first",
    "attend",
    "attend_token",
    "before",
    "choose",
    "every",
    "held",
    "peaks",
    "recent",
    "recent_token",
    "scan",
    "times",
    "together",
]
