"""What `explain` says of a rule over sequences: recurrences, their parallel forms, work and depth, proofs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dotopt.compiler.analysis.recurrence import Group, Recurrences, Solved, recurrences
from dotopt.compiler.emit.sequence.stretch import shown
from dotopt.compiler.ir import Program
from dotopt.compiler.ir.print import infix

if TYPE_CHECKING:
    from dotopt.compiler.prove.procedures.chunks import ChunkProof


@dataclass(frozen=True, slots=True)
class Form:
    """How some states are computed over T tokens, in chunks of C."""

    states: tuple[str, ...]
    kind: str
    why: str
    how: str
    work: str
    depth: str
    transition: tuple[str, ...] = ()


def forms(program: Program) -> tuple[Form, ...]:
    """A row for each state, or group of states, of a rule over sequences."""
    if program.kind != "module" or not program.states:
        return ()
    found = recurrences(program)
    return tuple(_rows(found))


def proofs(program: Program, work: int = 10_000_000) -> tuple[ChunkProof, ...]:
    """What is proved of the generated code: of each group of memories, of scans, and of one token."""
    if program.kind != "module":
        return ()
    from dotopt.compiler.prove.procedures.chunks import prove_chunks, prove_token
    from dotopt.runtime.sequence.lifted import run

    return (*prove_chunks(program, run, work), prove_token(program, run, work))


def _rows(found: Recurrences) -> Iterator[Form]:
    done: set[Group] = set()
    for x in found.solved:
        size = "·".join(x.state.type.axes) or "1"
        if not found.parallel:
            how = "token by token" if x.kind == "sequential" else f"token by token, as others ({x.kind} by itself)"
            yield Form((x.state.name,), "sequential", x.why, how, f"T·{size}", "T")
        elif x.group is None:
            yield _single(x, size)
        elif x.group not in done:
            done.add(x.group)
            yield _chunks(x.group, x.why)


def _single(x: Solved, size: str) -> Form:
    if x.kind == "frozen":
        period = "T" if x.period is None else infix(x.period)
        how = "a constant" if x.period is None else f"chunks of {period} tokens with what is read at their start"
        return Form((x.state.name,), "frozen", x.why, how, "0", "1" if x.period is None else f"T/{period}")
    many = f"{len(x.partners) ** 3}·" if x.partners else ""
    return Form((x.state.name,), x.kind, x.why, "associative scan", f"O({many}T·{size})", "O(log T)")


def _chunks(group: Group, why: str) -> Form:
    rows, columns = group.states[0].type.axes
    memories, terms = len(group.states), len(group.terms)
    windows = "·".join(infix(term.window) for term in group.terms if term.window is not None)
    rank = windows if windows else str(terms)
    terms_of = "C" if rank == "1" else f"({rank}·C)"
    times = "" if memories == 1 else f"{memories}·"
    reading = any(p is not None for term in group.terms for p in term.p)
    inverse = f" + T·{terms_of}²" if reading else ""
    work = f"O({times}T·{terms_of}·({rows} + {columns}) + {times}T·{rows}·{columns}{inverse})"
    how = "chunks in WY form: a triangular system in each" if reading else "chunks: masked scores in each"
    return Form(tuple(x.name for x in group.states), "low rank", why, how, work, "O(T/C + C)", shown(group))
