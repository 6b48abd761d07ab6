"""Where the commands write: colours and tables on a terminal, plain text in a pipe; `NO_COLOR` is honoured."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_WIDTH = 1000  # in a pipe nothing is wrapped: the reader may be a program


@cache
def out() -> Console:
    """Standard output."""
    return _console(stderr=False)


@cache
def err() -> Console:
    """Standard error."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, emoji=False, markup=True)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console


def heading(text: str) -> None:
    """A line across the terminal with a title; in a pipe the title alone."""
    if out().is_terminal:
        out().rule(f"[bold]{text}")
    else:
        out().print(f"\n{text}\n")


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table with these columns: ruled lines on a terminal, blanks between the columns in a pipe."""
    from rich import box
    from rich.table import Table

    from dotopt.compiler.text.source import printable

    made = Table(
        title=printable(title) if title else None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if out().is_terminal else None,
        header_style="bold",
        pad_edge=False,
    )
    for column in columns:
        made.add_column(column, overflow="fold")
    return made
