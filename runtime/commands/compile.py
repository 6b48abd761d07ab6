"""`dotopt compile`: a file as a Python module that stands on torch and dotopt.runtime alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from dotopt.runtime.commands import PROVED


def arguments(parser: argparse.ArgumentParser) -> None:
    """The file, where to write, and for which backend."""
    parser.add_argument("file", metavar="FILE", help="a .opt file, or a name of the catalogue")
    parser.add_argument("-o", "--output", metavar="OUT.py", help="where to write (default: standard output)")


def run(args: argparse.Namespace) -> int:
    """0; 1 if the file is broken or of a kind that is not compiled yet."""
    from tempfile import TemporaryDirectory

    import dotopt
    from dotopt.runtime.commands.files import locate

    path = locate(args.file)
    if args.output:
        dotopt.compile(path, args.output)
        print(f"{args.output} written")
        return PROVED
    with TemporaryDirectory() as folder:
        made = Path(folder) / "module.py"
        dotopt.compile(path, made)
        print(made.read_text(encoding="utf-8"), end="")
    return PROVED
