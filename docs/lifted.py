"""Writes docs/lift.md: every optimizer of torch and of pytorch_optimizer, lifted. `make lift` runs it.

What was found of each class is kept in build/lift.jsonl, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import inspect
import json
import signal
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from dotopt.runtime.lift.answer import answer
from dotopt.runtime.lift.lift import named
from dotopt.runtime.lift.numbers import Refused
from dotopt.runtime.lift.report import numbers

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build" / "lift.jsonl"
PAGE = ROOT / "docs" / "lift.md"
BUDGET = 120  # seconds of processor time for one class


class Late(BaseException):
    """A class has taken all of its time."""


def classes() -> Iterator[str]:
    """The paths of all classes."""
    for package in ("torch.optim", "pytorch_optimizer"):
        try:
            module = import_module(package)
        except ImportError:
            continue
        for name, found in sorted(vars(module).items()):
            kind = inspect.isclass(found) and issubclass(found, torch.optim.Optimizer)
            if kind and name not in ("Optimizer", "BaseOptimizer"):
                yield f"{package}.{name}"


def one(path: str) -> dict[str, Any]:
    """What is found of one class."""

    def late(number: int, frame: FrameType | None) -> None:
        raise Late

    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, BUDGET)
    try:
        found = answer(named(path), path, proofs=False)
    except Refused as error:
        return {"class": path, "status": "refused", "why": str(error)}
    except Late:
        return {"class": path, "status": "refused", "why": f"not done after {BUDGET} s"}
    except Exception as error:  # of dotopt, which the table does not hide
        return {"class": path, "status": "refused", "why": f"a defect of dotopt: {type(error).__name__}: {error}"}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    relations = [
        (r.rule, r.how, r.where, "" if r.difference is None else numbers(r.difference, "the class", r.rule))
        for r in found.relations
    ]
    proof = [found.proof.compared, found.proof.open, found.proof.different]
    return {"class": path, "status": found.status, "apart": found.apart, "proof": proof, "notes": found.lifted.notes,
            "text": found.lifted.text, "rel": relations}  # fmt: skip


def row(found: dict[str, Any]) -> str:
    """A row of the table."""
    if found["status"] == "refused":
        why = " ".join(found["why"].split()).replace("|", "\\|")
        return f"| `{found['class']}` | not lifted | | {why} |"
    notes = list(found["notes"]) + [line[2:] for line in found["text"].splitlines() if line.startswith("# ")][1:]
    for rule, how, where, _ in found["rel"]:
        held = f" with {where}" if where else ""
        notes.append(f"{'differs from' if how == 'different' else 'is'} `{rule}` of the library{held}")
    if found["status"] == "replayed":
        notes.append(f"not proved: {found['proof'][1][0]}")
    if found["status"] == "different":
        notes.append("the written rule parts from the class, and is not to be used")
    return f"| `{found['class']}` | {found['status']} | {found['apart']:.0e} | {'; '.join(notes)} |"


def page(found: list[dict[str, Any]]) -> str:
    """The page; what stands above the table is kept."""
    before = PAGE.read_text(encoding="utf-8").partition("<!-- table -->")[0]
    counts = {s: sum(f["status"] == s for f in found) for s in ("proved", "replayed", "different", "refused")}
    lines = [
        f"Of {len(found)} classes, {counts['proved'] + counts['replayed']} lifted: {counts['proved']} are proved equal"
        f" to their rule, {counts['replayed']} agree with it in a replay, unproved. {counts['different']} came out"
        f" as rules that part from the class, and {counts['refused']} are refused.",
        "",
        "| class | the rule is | replay | |",
        "|---|---|---|---|",
        *map(row, found),
    ]
    return before + "<!-- table -->\n\n" + "\n".join(lines) + "\n"


def main() -> None:
    """All classes that are not in build/lift.jsonl yet, then the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="forget what is kept")
    args = parser.parse_args()
    KEPT.parent.mkdir(exist_ok=True)
    if args.again:
        KEPT.unlink(missing_ok=True)
    known = {}
    if KEPT.exists():
        known = {f["class"]: f for f in map(json.loads, KEPT.read_text(encoding="utf-8").splitlines())}
    order = list(classes())
    with KEPT.open("a", encoding="utf-8") as kept:
        for path in order:
            if path not in known:
                known[path] = one(path)
                kept.write(json.dumps(known[path], ensure_ascii=False) + "\n")
                kept.flush()
                print(path, known[path]["status"], flush=True)
    PAGE.write_text(page([known[path] for path in order if path in known]), encoding="utf-8")


if __name__ == "__main__":
    main()
