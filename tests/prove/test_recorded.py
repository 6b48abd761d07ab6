"""Proofs beside the rules: written, verified without a search, refused where a text or a certificate was changed."""

import base64
import json
import zlib
from pathlib import Path

import pytest

from dotopt.compiler.prove import recorded
from dotopt.compiler.prove.report import check_file
from dotopt.compiler.prove.solver import client
from dotopt.compiler.text.library import Library
from dotopt.runtime import cli

RULE = """theorem Small
for all a >= 0, b >= 0

half = a/(1 + a)

claim below:
  show half <= 1

claim squares:
  show (a + b)² == a² + 2*a*b + b²

claim false:
  show a <= b
"""


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    """A file with its record."""
    path = tmp_path / "small.opt"
    path.write_text(RULE, encoding="utf-8")
    assert recorded.write(path, check_file(path).claims) == []
    return path


def statuses(path: Path) -> dict[str, tuple[str, str]]:
    """Of each claim, what its record says."""
    return {claim.name: (claim.status, claim.reason) for claim in recorded.recorded(path)}


def test_what_was_recorded_is_verified_without_z3(rule: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_process", lambda: pytest.fail("z3 was asked"))
    found = {claim.name: claim for claim in recorded.recorded(rule)}
    assert {name: claim.status for name, claim in found.items()} == {
        "below": "proved", "squares": "proved", "false": "refuted"
    }  # fmt: skip
    assert found["false"].counterexample


def test_comments_may_change_and_what_else_changed_is_said(rule: Path) -> None:
    rule.write_text(RULE.replace("half = a", "half  =  a"), encoding="utf-8")
    assert statuses(rule)["below"][0] == "proved"
    rule.write_text(RULE.replace("half <= 1", "half <= 2"), encoding="utf-8")
    found = statuses(rule)
    assert found["below"][0] == "open" and "another text, claim changed" in found["below"][1]
    assert found["squares"][0] == "proved"
    rule.write_text(RULE.replace("half = a", "half = b"), encoding="utf-8")
    assert all("rule changed" in reason for _, reason in statuses(rule).values())
    rule.write_text(RULE + "\nclaim later:\n  show a >= 0\n", encoding="utf-8")
    assert "not recorded" in statuses(rule)["later"][1]


def test_a_proof_of_another_claim_or_with_another_number_is_refused(rule: Path) -> None:
    place = recorded.beside(rule)
    entries = json.loads(place.read_text(encoding="utf-8"))
    for name in ("below", "squares"):
        for forged in _forged(entries, name):
            place.write_text(json.dumps({**entries, name: forged}), encoding="utf-8")
            assert statuses(rule)[name][0] == "open", forged


def _forged(entries: dict[str, dict[str, object]], name: str) -> list[dict[str, object]]:
    entry = entries[name]
    certificate = recorded.unpacked(str(entry["certificate"]))
    other = recorded.unpacked(str(entries["squares" if name == "below" else "below"]["certificate"]))
    changed = [
        other,  # of the other claim
        {**certificate, "about": "0" * 64},
        {**certificate, "kind": "nothing"},
        {key: value for key, value in certificate.items() if key != "kind"},
        json.loads(json.dumps(certificate).replace('"1"', '"-3"', 1)),  # which makes it false
        [],
    ]
    return [
        *({**entry, "certificate": recorded.packed(c)} for c in changed),
        *({**entry, "certificate": word} for word in ("", "!", "abc", 7)),
        {key: value for key, value in entry.items() if key != "certificate"},
    ]


def test_a_lost_theorem_is_named(rule: Path) -> None:
    rule.write_text(RULE.replace("half <= 1", "half <= 0"), encoding="utf-8")
    assert recorded.write(rule, check_file(rule).claims) == ["below"]
    assert '"status": "refuted"' in recorded.beside(rule).read_text(encoding="utf-8")


def test_from_the_command_line(rule: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = recorded.beside(rule)
    before = place.read_bytes()
    assert cli.main(["check", str(rule), "--record"]) == 1  # one of them is false
    assert place.read_bytes() == before
    assert cli.main(["check", str(rule), "--recorded", "--format", "json"]) == 1
    assert cli.main(["check", "--verify", str(place)]) == 0
    assert "squares: verified (algebra)" in capsys.readouterr().out
    place.write_text(before.decode().replace('"certificate": "', '"certificate": "c'), encoding="utf-8")
    assert cli.main(["check", "--verify", str(place)]) == 1
    place.write_text("{", encoding="utf-8")
    assert cli.main(["check", "--verify", str(place)]) == cli.main(["check", str(rule), "--recorded"]) == 1


def test_a_bomb_is_no_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "LARGEST", 1000)
    with pytest.raises(ValueError, match="too large"):
        recorded.unpacked(base64.b85encode(zlib.compress(b" " * (recorded.LARGEST + 1), 9)).decode())


def test_the_library_has_records() -> None:
    path = Library().find("LionKSteps")
    assert path is not None
    assert {status for status, _ in statuses(path).values()} == {"proved"}
