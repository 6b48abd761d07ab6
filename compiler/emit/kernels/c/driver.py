"""The part of a C module that runs the others: what a thread does, and the entry.

Functions that would do nothing are not written, and not called.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

WHOLE = "w->first[tensor + 1] - w->first[tensor] == 1"  # the tensor is one piece


def function(head: str, lines: Iterable[str]) -> str:
    """A C function."""
    return "\n".join([head + " {", *("  " + line for line in lines), "}", ""])


def driver(stages: int, fused: bool, present: Container[str]) -> str:
    """The functions that call those in `present`.

    `fused` says that the passes of a tensor depend on nothing outside of it: one that is a single piece then goes
    through all of them at once, while it is in the cache.
    """
    works = [_work(index, stages, fused, present) for index in range(stages) if f"pass_{index}" in present]
    return "\n".join([*works, _EACH, _run(stages, fused, present)])


def _work(index: int, stages: int, fused: bool, present: Container[str]) -> str:
    """What a thread runs: units in turn."""
    piece = [f"pass_{index}(w, piece);"]
    if fused and index == 0:
        rest: list[str] = []
        for stage in range(stages):
            rest += [f"pass_{stage}(w, piece);"] if stage else []
            rest += _calls(present, f"finish_{stage}(w, tensor)")
        rest += _calls(present, "close(w, tensor)")
        piece += ["const int64_t tensor = w->tensor[piece];", f"if ({WHOLE}) {{", *("  " + r for r in rest), "}"]
    elif fused:
        piece = ["const int64_t tensor = w->tensor[piece];", f"if ({WHOLE}) continue;", *piece]
    return function(
        f"static void work_{index}(void *given)",
        [
            "struct work *w = given;",
            "for (int64_t unit; (unit = __atomic_fetch_add(&w->next, 1, __ATOMIC_RELAXED)) < w->units;)",
            "  for (int64_t piece = w->unit[unit]; piece < w->unit[unit + 1]; piece++) {",
            f"    if (piece + 1 < w->pieces) ahead_{index}(w, piece + 1);",
            *("    " + line for line in piece),
            "  }",
        ],
    )


_EACH = function(
    "static void each(struct work *w, void (*work)(void *))",
    [
        "w->next = 0;",
        "const int64_t threads = w->threads < w->units ? w->threads : w->units;",
        "if (w->parallel && threads > 1) w->parallel(work, w, threads, 0);",
        "else work(w);",
    ],
)


def _run(stages: int, fused: bool, present: Container[str]) -> str:
    """The entry: stage `stage`, or all of them if it is negative. After the last pass comes a stage of its own for the
    numbers that the group shares, which may follow from sums over the model that the last pass made."""
    lines: list[str] = []
    for index in range(stages):
        ends = _calls(present, f"finish_{index}(w, tensor)")
        ends += _calls(present, "close(w, tensor)") if index == stages - 1 else []
        body = _calls(present, f"host_{index}(w)")
        body += [f"each(w, work_{index});"] if f"pass_{index}" in present else []
        if ends:
            skip = [f"  if ({WHOLE}) continue;"] if fused else []
            body += ["for (int64_t tensor = 0; tensor < w->tensors; tensor++) {", *skip]
            body += [*("  " + end for end in ends), "}"]
        body += _calls(present, f"model_{index}(w)")
        lines += [f"if (stage < 0 || stage == {index}) {{", *("  " + line for line in body), "}"]
    lines += [f"if (stage < 0 || stage == {stages}) {call}" for call in _calls(present, "shared(w)")]
    return function("void dotopt_run(struct work *w, int64_t stage)", lines)


def _calls(present: Container[str], call: str) -> list[str]:
    return [call + ";"] if call.split("(")[0] in present else []
