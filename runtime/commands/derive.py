"""`dotopt derive`: the constants that `derive` claims ask for."""

from __future__ import annotations

import argparse

from dotopt.runtime.commands import OPEN, PROVED


def arguments(parser: argparse.ArgumentParser) -> None:
    """The file."""
    parser.add_argument("file", metavar="FILE", help="a .opt file, or a name of the catalogue")


def run(args: argparse.Namespace) -> int:
    """0 if every constant was found, 3 if not."""
    from rich.text import Text

    from dotopt.compiler import syntax as s
    from dotopt.compiler.errors import OptError
    from dotopt.compiler.parse import parse
    from dotopt.compiler.read import read
    from dotopt.runtime.checking import check, constants
    from dotopt.runtime.commands.files import locate
    from dotopt.runtime.console import out, table

    path = locate(args.file)
    asked = {
        claim.name: ", ".join(name for clause in claim.body if isinstance(clause, s.Derive) for name in clause.names)
        for claim in parse(read(path)).claims
    }
    asked = {name: unknowns for name, unknowns in asked.items() if unknowns}
    if not asked:
        print(f"{path.name}: no claim derives anything")
        return PROVED
    report = check(path)
    if report.errors:
        raise OptError(*report.errors)
    rows = table("claim", "unknown", "status", "found", title=path.name)
    code = PROVED
    for claim in report.claims:
        if claim.name in asked:
            found = ", ".join(f"{name} = {value}" for name, value in constants(claim).items())
            rows.add_row(Text(claim.name), asked[claim.name], claim.status, Text(found or claim.reason))
            code = code if claim.status == "proved" else OPEN
    out().print(rows)
    return code
