"""`dotopt derive`: what can be derived about a rule, and the constants that its `derive` claims ask for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from dotopt.runtime.commands import OPEN, PROVED

if TYPE_CHECKING:
    from dotopt.compiler.prove.derivations.derive import Derivation


def arguments(parser: argparse.ArgumentParser) -> None:
    """The file, and the form of the answer."""
    parser.add_argument("file", metavar="FILE", help="a .opt file, or a name of the catalogue")
    parser.add_argument("--latex", action="store_true", help="print each formula in LaTeX too")
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="json: one object, with certificates"
    )
    parser.epilog = "exit codes: 0 all constants that the file asks for were found, 1 an error, 3 some were not"


def run(args: argparse.Namespace) -> int:
    """0 if every constant that a claim asks for was found, 3 if not."""
    from dotopt.runtime.commands.files import locate
    from dotopt.runtime.report.console import out

    path = locate(args.file)
    asked = constants(path)
    found = derived(path)
    if args.format == "json":
        lines = [line.as_dict() for line in (*asked, *found)]
        print(json.dumps({"file": str(path), "derived": lines}, ensure_ascii=False, default=str))
    else:
        for line in (*asked, *found):
            show(line, args.latex)
        if not asked and not found:
            out().print(f"{path.name}: no claim derives anything, and the file is no optimizer")
    return OPEN if any(line.status == "none" for line in asked) else PROVED


def derived(path: Path) -> list[Derivation]:
    """What is found without being asked."""
    from dotopt.compiler.prove.derivations.derive import derivations
    from dotopt.compiler.text.library import Library, load

    return list(derivations(load(path), Library(path.parent)))


def constants(path: Path) -> list[Derivation]:
    """The unknowns of the claims with a `derive` line; raises `OptError` if the file is broken."""
    from dotopt.compiler.parse import parse
    from dotopt.compiler.prove.derivations.derive import Derivation
    from dotopt.compiler.prove.derivations.derive import constants as values
    from dotopt.compiler.text import syntax as s
    from dotopt.compiler.text.errors import OptError
    from dotopt.compiler.text.read import read
    from dotopt.runtime.report.checking import check

    claims = parse(read(path)).claims
    unknown = {c.name: [name for x in c.body if isinstance(x, s.Derive) for name in x.names] for c in claims}
    if not any(unknown.values()):
        return []
    report = check(path)
    if report.errors:
        raise OptError(*report.errors)
    lines: list[Derivation] = []
    for claim in report.claims:
        names = unknown.get(claim.name, [])
        found = list(values(claim.name, claim.certificate or {}, claim.assumptions)) if names else []
        lines += found
        if names and not found:
            reason = claim.reason or f"the claim is {claim.status}"
            lines.append(Derivation(f"{', '.join(names)} of {claim.name}", "none", reason=reason))
    return lines


def show(line: Derivation, latex: bool) -> None:
    """Print one derivation: what it is and how sure, the formula, its value at the defaults, what it leans on."""
    from rich.text import Text

    from dotopt.runtime.commands.check import STYLES
    from dotopt.runtime.report.console import out

    console = out()
    head = Text(line.what, style="bold")
    head.append(f"  {line.status if line.status != 'none' else 'not found'}", style=STYLES.get(line.status, "yellow"))
    if line.where:
        head.append(f"  where {', '.join(line.where)}", style="dim")
    console.print(head)
    if line.text:
        console.print(Text(f"  {line.text}"), soft_wrap=True)
    if line.defaults:
        console.print(Text(f"  at the defaults {line.defaults}"))
    if latex and line.latex:
        console.print(Text(f"  {line.latex}"), soft_wrap=True)
    if line.reason:
        console.print(Text(f"  {line.reason}", style="dim"))
    for given in line.assumptions:
        console.print(Text(f"  {given}", style="dim"), soft_wrap=True)
