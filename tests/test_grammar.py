"""The grammar is LALR(1) without conflicts or colliding terminals, and its tables are built once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dotopt.grammar import tables

ROOT = Path(__file__).resolve().parent.parent


def test_no_conflicts_and_no_collisions() -> None:
    # strict mode raises on shift/reduce conflicts and on terminals that can match the same text
    tables.build(strict=True)


def test_strict_mode_would_notice() -> None:
    import lark

    with pytest.raises(lark.exceptions.GrammarError):
        lark.Lark('start: a | b\na: "x"\nb: "x"', parser="lalr", strict=True)


def test_tables_are_cached(tmp_path: Path) -> None:
    program = (
        "from dotopt.grammar import tables; build = tables.build; built = []; "
        "tables.build = lambda *given: built.append(True) or build(*given); tables.parser(); print(len(built))"
    )
    environment = {**os.environ, "DOTOPT_CACHE": str(tmp_path)}

    def start() -> int:
        """How often a new process builds the tables."""
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert start() == 1
    (entry,) = tmp_path.glob("grammar-*")
    assert start() == 0
    entry.write_bytes(b"damaged")
    assert start() == 1
    assert entry.read_bytes() != b"damaged"  # rebuilt, not trusted
