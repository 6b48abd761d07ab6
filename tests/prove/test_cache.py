"""Cached reports: found again, and never believed when they are damaged, forged, moved or out of date."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dotopt.compiler.prove import cache, check_file
from dotopt.compiler.prove import report as report_module

TRIVIAL = {"status": "proved", "certificate": {"kind": "truth", "value": True}}
FALSE = "theorem Wrong\nfor all a\n\nclaim wrong:\n  show a^2 >= a\n\nclaim right:\n  show a^2 >= 0\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "wrong.opt"
    path.write_text(FALSE, encoding="utf-8")
    assert statuses(path) == ["refuted", "proved"]
    return path


def statuses(path: Path) -> list[str]:
    return [claim.status for claim in check_file(path).claims]


def entries(path: Path) -> dict[str, Path]:
    found = (path.parent / "cache" / "claims").glob("*.json")
    return {json.loads(p.read_text(encoding="utf-8"))["report"]["name"]: p for p in found}


def decisions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the claims that are decided anew from now on."""
    made: list[str] = []
    decide = report_module.check_claim

    def watched(file: Any, claim: Any, *rest: Any) -> Any:
        made.append(claim.name)
        return decide(file, claim, *rest)

    monkeypatch.setattr(report_module, "check_claim", watched)
    return made


def test_a_second_check_decides_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = decisions(monkeypatch)
    assert statuses(file) == ["refuted", "proved"]
    assert made == []


def test_white_space_and_other_claims_may_change(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = decisions(monkeypatch)
    file.write_text("# a comment\n" + FALSE.replace("a^2 >= a", "a^2  >=  2*a"), encoding="utf-8")
    (wrong, right) = check_file(file).claims
    assert made == ["wrong"] and right.line == 8
    assert wrong.status == "refuted"


@pytest.mark.parametrize(
    "what",
    ["flipped", "trivial certificate", "moved", "truncated", "no report", "rehashed", "another secret"],
)
def test_a_forged_entry_is_never_believed(file: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, right = entries(file)["wrong"], entries(file)["right"]
    entry = json.loads(wrong.read_text(encoding="utf-8"))
    proof = json.loads(right.read_text(encoding="utf-8"))
    forgers: dict[str, Callable[[], str]] = {
        "flipped": lambda: json.dumps({**entry, "report": {**entry["report"], "status": "proved"}}),
        "trivial certificate": lambda: json.dumps({**entry, "report": {**entry["report"], **TRIVIAL}}),
        "moved": lambda: json.dumps(proof),
        "truncated": lambda: wrong.read_text(encoding="utf-8")[:40],
        "no report": lambda: "[]",
        "rehashed": lambda: json.dumps({**proof, "report": {**proof["report"], "name": "wrong"}}),
        "another secret": lambda: json.dumps(proof),
    }
    wrong.write_text(forgers[what](), encoding="utf-8")
    if what == "another secret":
        (file.parent / "cache" / "claims" / "secret").write_bytes(b"x" * 32)
    assert statuses(file) == ["refuted", "proved"]


def test_a_certificate_is_verified_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = decisions(monkeypatch)
    monkeypatch.setattr("dotopt.compiler.prove.cache.verify", lambda certificate, about: False)
    assert statuses(file) == ["refuted", "proved"]
    assert made == ["right"]


def test_the_cache_hangs_on_the_files_that_a_claim_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path / "cache"))
    square = tmp_path / "square.opt"
    square.write_text("formula square(a) = a^2\n", encoding="utf-8")
    path = tmp_path / "uses.opt"
    path.write_text("theorem Uses\nuse square\nfor all a\n\nclaim positive:\n  show square(a) >= 0\n", encoding="utf-8")
    assert statuses(path) == ["proved"]
    square.write_text("formula square(a) = a^3\n", encoding="utf-8")
    assert statuses(path) == ["refuted"]


def test_a_broken_file_beside_it_with_the_name_of_a_variable_is_of_no_account(file: Path) -> None:
    (file.parent / "a.opt").write_text("theorem Broken\nshow x' = x\n", encoding="utf-8")
    assert statuses(file) == ["refuted", "proved"]


def test_a_fresh_proof_is_verified_before_it_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "wrong.opt"
    path.write_text(FALSE, encoding="utf-8")
    seen: list[Any] = []

    def refuse(certificate: Any, about: str) -> bool:
        seen.append(certificate)
        return False

    monkeypatch.setattr("dotopt.compiler.prove.claim.verify", refuse)
    wrong, right = check_file(path).claims
    assert (wrong.status, right.status, len(seen)) == ("refuted", "open", 1)
    assert "does not verify" in right.reason


def test_a_certificate_is_about_one_claim(file: Path) -> None:
    """With the secret of the user an entry can be signed; the certificate of another claim still does not pass."""
    wrong, right = entries(file)["wrong"], entries(file)["right"]
    proof = json.loads(right.read_text(encoding="utf-8"))["report"]
    forged = {**proof, "name": "wrong"}
    code = cache._code(wrong.stem, forged, 2.0)
    wrong.write_text(json.dumps({"code": code, "budget": 2.0, "report": forged}), encoding="utf-8")
    assert statuses(file) == ["refuted", "proved"]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="there are no modes of folders here")
def test_a_folder_that_others_can_write_is_not_believed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = decisions(monkeypatch)
    (file.parent / "cache" / "claims").chmod(0o777)
    assert statuses(file) == ["refuted", "proved"]
    assert made == ["wrong", "right"]
