"""`dotopt demo`: train with rules compiled from the library, and write a report."""

from __future__ import annotations

import argparse
from pathlib import Path

from dotopt.runtime.commands import PROVED, Refused


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where to write, and how long it may take."""
    parser.add_argument("-o", "--output", default="demo/report.html", metavar="FILE", help="default: demo/report.html")
    parser.add_argument("--quick", action="store_true", help="a few seconds in place of a minute or two")


def run(args: argparse.Namespace) -> int:
    """0."""
    from dotopt.runtime.report.demo import demo

    try:
        demo(Path(args.output), quick=args.quick)
    except ImportError as error:
        raise Refused(str(error)) from None
    return PROVED
