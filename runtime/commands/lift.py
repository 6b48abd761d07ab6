"""`dotopt lift`: a torch optimizer in Python as a file, and whether the two are equal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotopt.runtime.commands import FAILED, OPEN, PROVED, Refused

if TYPE_CHECKING:
    from dotopt.runtime.lift.answer import Answer


def arguments(parser: argparse.ArgumentParser) -> None:
    """The class, where the file goes, what to compare with."""
    parser.add_argument("name", metavar="module.Class", help="a torch optimizer, such as torch.optim.AdamW")
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="write the rule to this file (else it is printed)"
    )
    parser.add_argument("--against", metavar="RULE", help="compare with this rule of the library, or this .opt file")
    parser.add_argument("--alone", action="store_true", help="do not look for the class in the library")


def run(args: argparse.Namespace) -> int:
    """0 if the rule is proved equal to the class, 3 if it only agrees in a replay, 1 if not, or if it differs from
    the rule to compare with; 2 if the class is not lifted.
    """
    from dotopt.runtime.lift import numbers
    from dotopt.runtime.lift.answer import answer
    from dotopt.runtime.lift.lift import named

    sys.path.insert(0, "")  # a module in this folder
    try:
        found = answer(named(args.name), args.name, _other(args.against), not args.alone)
    except numbers.Refused as error:
        place = f"\n  at {error.place}" if error.place else ""
        raise Refused(f"`{args.name}` is not lifted: {error.reason}{place}") from None
    if args.out is None:
        print(found.lifted.text)
    else:
        args.out.write_text(found.lifted.text, encoding="utf-8")
        print(f"{args.out} written")
    for line in _sentences(found, args.name):
        print(line)
    if found.status == "different" or (args.against and any(r.how == "different" for r in found.relations)):
        return FAILED
    return PROVED if found.status == "proved" else OPEN


def _other(name: str | None) -> Any:
    """A rule of the library or of a file."""
    import dotopt
    from dotopt.runtime.loading.load import stdlib

    if name is None:
        return None
    if name.endswith(".opt"):
        module = dotopt.load(name)
        return getattr(module, module.__all__[0])
    try:
        return stdlib(name)
    except AttributeError as error:
        raise Refused(str(error)) from None


def _sentences(found: Answer, name: str) -> list[str]:
    """What is said below the rule."""
    from dotopt.runtime.lift.report import relation, verdict

    return [verdict(found, name), *(relation(r) for r in found.relations)]
