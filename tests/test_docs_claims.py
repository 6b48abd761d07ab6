"""What docs/claims.md shows is what the engine answers today."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from dotopt.compiler.emit.text.format import format_text

DOCS = Path(__file__).resolve().parent.parent / "docs"


def test_the_transcripts_are_current() -> None:
    """`python docs/transcripts.py` would change nothing."""
    spec = importlib.util.spec_from_file_location("transcripts", DOCS / "transcripts.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (DOCS / "claims.md").read_text(encoding="utf-8")
    assert text.count("```opt\n") >= 10
    assert module.fill(text) == text


def test_the_examples_are_in_house_style() -> None:
    text = (DOCS / "claims.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```opt\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        assert format_text(block) == block
