"""The command line: one subcommand a file in `commands`, and one place where every failure becomes a sentence.

Exit codes: 0 done, or everything proved; 1 something refuted, or an error in a file; 2 wrong usage; 3 something left
open; 70 a bug in dotopt; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from dotopt.runtime.commands import FAILED, USAGE, Refused

COMMANDS = {
    "check": "parse, resolve and infer files, and decide their claims",
    "compile": "write a file as a Python module",
    "explain": "say what a rule is: kind, equations, shapes, memory, passes; and its code in every backend",
    "test": "property tests: every backend against the reference, claims against random inputs",
    "derive": "print the constants that `derive` claims ask for",
    "fmt": "put files in house style",
    "lift": "write a torch optimizer of Python as a rule, and say whether the two are equal",
    "list": "the standard library",
    "new": "start a file from a template",
    "demo": "train with optimizers compiled from the library, and write a report",
    "bench": "time a step against other libraries",
}
INTERNAL = 70
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; the arguments of a command come from its own file."""
    from dotopt import __version__

    made = argparse.ArgumentParser(
        prog="dotopt",
        description="Optimizers and update rules as a few equations: compiled, proved, explained.",
        epilog="`dotopt COMMAND --help` says more about a command.",
    )
    made.add_argument("--version", action="version", version=f"dotopt {__version__}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, sentence in COMMANDS.items():
        commands.add_parser(name, help=sentence, description=sentence[0].upper() + sentence[1:] + ".")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. No exception leaves it but `SystemExit` from argparse.

    >>> main(["list", "--names", "--family", "nested"])
    AdagradMemory
    AdamMemory
    CMS
    DeltaGD
    DeltaMomentum
    DMGD
    EMAMemory
    M3
    MomentumMemory
    NonlinearMomentum
    PreconditionedMomentum
    SGDMemory
    0
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        _utf8()
        if not os.environ.get("DOTOPT_DEBUG"):
            sys.unraisablehook = lambda unraisable: None  # a destructor of z3 that was interrupted, for instance
        return _run(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough: `dotopt list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except Exception as error:
        return _failure(error)


def _run(arguments: list[str]) -> int:
    whole = parser()
    name = next((argument for argument in arguments if not argument.startswith("-")), "")
    if name in COMMANDS:  # only the module of this command is loaded
        command = import_module(f"dotopt.runtime.commands.{name}")
        assert whole._subparsers is not None
        choices = whole._subparsers._group_actions[0].choices
        assert isinstance(choices, dict)
        command.arguments(choices[name])
    args = whole.parse_args(arguments)
    code: int = import_module(f"dotopt.runtime.commands.{args.command}").run(args)
    sys.stdout.flush()
    return code


def _utf8() -> None:
    """Symbols must not fail on a terminal that claims to be ASCII."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="replace")


def _failure(error: Exception) -> int:
    from dotopt.compiler.text.errors import OptError

    if isinstance(error, OptError):
        from dotopt.compiler.text.render import render_all

        print(render_all(error.diagnostics, color=_colors()), file=sys.stderr)
        return FAILED
    if os.environ.get("DOTOPT_DEBUG"):
        raise error
    name = type(error).__name__
    print(
        f"internal error: {name}: {_first_line(error)} (a bug in dotopt: please report it, with the file and what"
        " DOTOPT_DEBUG=1 prints)",
        file=sys.stderr,
    )
    return INTERNAL


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0]


def _colors() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ
