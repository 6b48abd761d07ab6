"""`dotopt fmt`: house style, and the choice between symbols and ASCII."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Literal

from dotopt.runtime.commands import FAILED, PROVED


def arguments(parser: argparse.ArgumentParser) -> None:
    """Files, and what to do with them."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file, a folder, or - for standard input")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a file would change")
    parser.add_argument("--diff", action="store_true", help="with --check, print what would change")
    spelling = parser.add_mutually_exclusive_group()
    spelling.add_argument("--ascii", action="store_const", const="ascii", dest="spelling", help="θ becomes theta")
    spelling.add_argument("--unicode", action="store_const", const="unicode", dest="spelling", help="theta becomes θ")
    parser.set_defaults(spelling="keep")


def run(args: argparse.Namespace) -> int:
    """0; with --check 1 if something would change; 1 if a file does not parse (the others are formatted)."""
    from dotopt.compiler.text.errors import Diagnostic, OptError
    from dotopt.runtime.commands.files import expand

    code = PROVED
    broken: list[Diagnostic] = []
    for path in expand(args.files):
        try:
            changed = _one(path, args.check, args.diff, args.spelling)
        except OptError as error:
            broken.extend(error.diagnostics)
            continue
        if changed and args.check:
            code = FAILED
    if broken:
        raise OptError(*broken)
    return code


def _one(path: Path | None, check: bool, diff: bool, spelling: Literal["keep", "ascii", "unicode"]) -> bool:
    """Format one file (None: standard input); says whether it changes."""
    from dotopt.compiler.emit.text.format import format_text
    from dotopt.compiler.text.read import read
    from dotopt.compiler.text.source import printable

    if path is None:
        text = sys.stdin.read()
        made = format_text(text, spelling)
        if not check:
            sys.stdout.write(made)
        return made != text
    text = read(path).text
    made = format_text(text, spelling)
    if made == text:
        return False
    if diff:
        lines = difflib.unified_diff(text.splitlines(True), made.splitlines(True), str(path), f"{path} (formatted)")
        sys.stdout.writelines(lines)
    elif check:
        print(f"{printable(str(path))} would change")
    if not check:
        path.write_text(made, encoding="utf-8")
        print(f"{printable(str(path))} formatted")
    return True
