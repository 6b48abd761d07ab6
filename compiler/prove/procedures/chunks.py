"""Proof that the emitted code of a rule over sequences computes its equations, for short stretches and any vectors.

The generated text is run on symbols (`runtime/sequence/lifted.py`): names, starts, masks, and the files that compute
chunks and scans at run time. A vector is one letter, so sizes do not matter, and matrices do not commute. What comes
out is compared with the equations of the rule, written out token by token. Stretches of 1, 2 and 3 tokens in one chunk,
and of 3 in chunks of 2, from any state; since every chunk starts from any state, longer sequences follow chunk by
chunk. Then the beginning of a sequence, and stretches in which a token is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dotopt.compiler.analysis.recurrence import recurrences
from dotopt.compiler.emit.sequence.stretch import functions
from dotopt.compiler.emit.sequence.token import own_leaf
from dotopt.compiler.ir import Node, Program
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.fuel import Mark, TooLarge, spent, until, within
from dotopt.compiler.prove.procedures.emitted import Call, Found, Situation, Unrolled
from dotopt.compiler.prove.procedures.same import same

SHAPES = ((1, 1), (2, 2), (3, 3), (3, 2))  # tokens, and how many make a chunk
Run = Callable[[str, Call], Found]  # runs a generated text on symbols


@dataclass(frozen=True, slots=True)
class ChunkProof:
    """The answer for some states. `proved` lists the stretches; `reason` says what stood in the way.

    `begins` and `masked` say whether that holds too where the sequence begins, and where tokens are missing.
    """

    names: tuple[str, ...]
    proved: tuple[tuple[int, int], ...]
    refuted: tuple[int, int] | None
    reason: str
    work: int
    begins: bool = True
    masked: bool = True
    form: str = "chunked form"

    @property
    def status(self) -> str:
        """proved, refuted or open."""
        if self.refuted is not None:
            return "refuted"
        whole = SHAPES if self.form != "one token" else SHAPES[:1]
        return "proved" if len(self.proved) == len(whole) and self.begins and self.masked else "open"

    @property
    def sentence(self) -> str:
        """One line for people."""
        what = f"{', '.join(self.names)}: {self.form} == recurrence: " if self.names else f"{self.form} == equations: "
        if self.refuted is not None:
            tokens, chunk = self.refuted
            if self.form == "one token":
                return f"{what}REFUTED"
            where = f" ({self.reason})" if self.reason else ""
            return f"{what}REFUTED for {tokens} tokens in chunks of {chunk}{where}"
        rest = f"; open beyond: {self.reason}" if self.reason else ""
        if self.proved and self.form == "one token":
            return f"{what}proved, vectors of any size{rest}"
        sizes = ", ".join(str(tokens) for tokens, chunk in self.proved if tokens == chunk)
        across = " and across chunks" if (3, 2) in self.proved else ""
        if self.proved:
            return f"{what}proved for C = {sizes}{across}, vectors of any size{rest}"
        return f"{what}open, {self.reason}"


def prove_chunks(program: Program, run: Run, work: int = 10_000_000) -> tuple[ChunkProof, ...]:
    """An answer for each group of memories, and for what is scanned; none if tokens are read one by one.

    `run` executes generated text on symbols. What is not found out within bounds of work, or in so much for all of
    them, is open, and said to be.
    """
    found = recurrences(program)
    if not found.parallel:
        return ()
    text = functions(program)
    groups = [tuple(x.name for x in group.states) for group in found.groups]
    scanned = tuple(x.state.name for x in found.solved if x.scanned)
    frozen = tuple(x.state.name for x in found.solved if x.kind == "frozen")
    memo: dict[Situation, tuple[Found, Found, set[Node]]] = {}
    end = until(work)
    asked = [(names, "chunked form") for names in groups] + ([(scanned, "scan")] if scanned else [])
    return tuple(_answer(program, text, names, frozen, run, end, memo, form) for names, form in asked)


def prove_token(program: Program, run: Run, work: int = 4_000_000) -> ChunkProof:
    """Whether the code for one token is the equations of the rule."""
    names = tuple(x.name for x in program.states)
    end = until(work)
    return _answer(program, functions(program), names, (), run, end, {}, "one token")


def _answer(
    program: Program, text: str, names: Sequence[str], frozen: Sequence[str], run: Run, end: Mark,
    memo: dict[Situation, tuple[Found, Found, set[Node]]], form: str,
) -> ChunkProof:  # fmt: skip
    begun = spent()
    token = form == "one token"
    proved: list[tuple[int, int]] = []
    refuted, reason = None, ""
    passed: dict[str, bool] = {"": True, "where it begins": True, "where tokens are missing": True}
    moving = {own_leaf(x) for x in program.states if x.name not in frozen}
    for situation, kind in _situations(token, program):
        if end.passed:
            reason, passed[kind] = "it is more work than a proof of this kind is worth", False
            break
        shape = (situation.tokens, situation.chunk)
        try:
            with within(end.left):
                if situation not in memo:
                    unrolled = Unrolled(program, situation)
                    call = unrolled.call("token" if token else "stretch")
                    memo[situation] = run(text, call), unrolled.expected(), unrolled.starts()
                found, expected, starts = memo[situation]
                right = _agree(found, expected, [*names, *frozen], situation, moving | starts, end)
        except (Unsupported, NotImplementedError, TooLarge) as error:
            reason, passed[kind] = (f"{kind}: " if kind else "") + str(error), False
            break
        if not right:
            refuted, reason = shape, kind
            break
        if not kind and situation.fires:
            proved.append(shape)
    return ChunkProof(
        () if token else tuple(names), tuple(proved), refuted, reason, spent() - begun,
        passed["where it begins"], passed["where tokens are missing"], form,
    )  # fmt: skip


def _situations(token: bool, program: Program) -> Iterator[tuple[Situation, str]]:
    """What is tried, and what to call it."""
    paced = any(x.op == "fires" for root in program.roots for x in root.walk())
    first = any(x.kind == "first" for x in program.states)
    window = any(x.op == "window" for root in program.roots for x in root.walk())
    for tokens, chunk in SHAPES[:1] if token else SHAPES:
        if paced:
            yield Situation(tokens, chunk, fires=False), ""
        yield Situation(tokens, chunk), ""
    if first or window:
        yield Situation(1 if token else 2, 1 if token else 2, first=True), "where it begins"
    if not token and not window:
        yield Situation(3, 3, keep=(True, False, True)), "where tokens are missing"
        if first:
            yield Situation(3, 2, first=True, keep=(False, True, True)), "where tokens are missing"


def _agree(
    found: Found, expected: Found, names: Sequence[str], situation: Situation, moving: set[Node], end: Mark
) -> bool:
    """Whether the code gave what the equations give: the outputs at the tokens that are there, and these states."""
    outputs, ends = found
    pairs = [(ends[name], expected[1][name]) for name in names]
    for name, right in expected[0].items():
        pairs += zip((outputs[name][t] for t in situation.there), right, strict=True)
    for left, right_ in pairs:
        if end.passed:
            raise Unsupported("it is more work than a proof of this kind is worth")
        if not same(left, right_, moving):
            return False
    return True
