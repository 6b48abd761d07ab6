"""`dotopt list`: the standard library, by family."""

from __future__ import annotations

import argparse

from dotopt.runtime.commands import PROVED


def arguments(parser: argparse.ArgumentParser) -> None:
    """Which part, and how."""
    from dotopt.runtime.loading.catalogue import FAMILIES

    parser.add_argument("--family", choices=FAMILIES, help="only this family")
    parser.add_argument("--names", action="store_true", help="names only, one a line")


def run(args: argparse.Namespace) -> int:
    """0."""
    from dotopt.runtime.loading.catalogue import entries

    chosen = [entry for entry in entries() if args.family in (None, entry.family)]
    if args.names:
        for entry in chosen:
            print(entry.name)
        return PROVED
    from rich.text import Text

    from dotopt.runtime.report.console import out, table

    for family in dict.fromkeys(entry.family for entry in chosen):
        rows = table("name", "in Python", "runs on", "what it is", "source", title=family)
        for entry in (entry for entry in chosen if entry.family == family):
            source = Text(entry.source, style=f"link {entry.link}" if entry.link else "")
            name, runs_on = Text(entry.name, style="bold cyan"), ", ".join(entry.backends)
            rows.add_row(name, entry.becomes, runs_on, entry.sentence, source)
        out().print(rows)
        out().print()
    return PROVED
