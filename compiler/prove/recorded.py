"""Proofs beside the rules: `lion.cert` says of every claim of `lion.opt` what was found, with its certificate.

    {"box": {"status": "proved", "procedure": "smt", "texts": {"claim": …, "norm1.opt": …}, "certificate": …}}

A record is read in place of a search: its certificates are verified, without z3, as long as the texts that the claim
was read from are the same; otherwise it is said which of them changed. What a certificate says of the claim is not
derived again, so a record is as trustworthy as who wrote it: nothing reads one that was not asked to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dotopt.compiler.prove.cache import named, subject, text_of
from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.report import ClaimReport, line_of
from dotopt.compiler.prove.statements.lemma_names import leans_on
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.library import Library, load

SUFFIX = ".cert"
KEPT = ("status", "procedure", "reason", "repair", "assumptions", "counterexample", "evidence")
DIGITS = 16  # of a hash
LARGEST = 1 << 26  # bytes of a certificate; a compressed one can be made to fill the memory

Entry = dict[str, Any]
Texts = dict[str, str]  # a hash of each text that a claim is read from


def beside(path: Path) -> Path:
    """Where the record of a file is kept."""
    return path.with_suffix(SUFFIX)


def texts(file: s.File, claim: s.Claim, library: Library) -> Texts:
    """A hash of each text that says what is claimed: the claim, its rule, its lemmas, and the files that they name."""
    lemmas = {f"lemma {c.name}": repr(c) for c in leans_on(file, claim)}
    files = {path.name: text for path, text in named(file, claim, library, set())}
    whole = {"claim": repr(claim), "rule": text_of(file), **lemmas, **dict(sorted(files.items()))}
    return {name: hashlib.sha256(text.encode()).hexdigest()[:DIGITS] for name, text in whole.items()}


def write(path: Path, claims: tuple[ClaimReport, ...]) -> list[str]:
    """Writes the record of a file; the claims that were proved in the record before and are not now."""
    file, library, before = load(path), Library(path.parent), read(beside(path))
    entries: dict[str, Entry] = {}
    for claim, found in zip(file.claims, claims, strict=True):
        kept = {key: value for key, value in asdict(found).items() if key in KEPT and value}
        entry = {**kept, "texts": texts(file, claim, library)}
        if found.certificate is not None:
            old = before.get(claim.name, {}).get("certificate")
            plain = json.loads(json.dumps(found.certificate))
            entry["certificate"] = old if old is not None and unpacked(old) == plain else packed(plain)
        entries[claim.name] = json.loads(json.dumps(entry, default=str))
    beside(path).write_text(json.dumps(entries, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return [name for name, entry in before.items() if entry["status"] == "proved" and not _proved(entries.get(name))]


def _proved(entry: Entry | None) -> bool:
    return entry is not None and entry["status"] == "proved"


def read(place: Path) -> dict[str, Entry]:
    """The entries of a record by the names of their claims, none if there is no record; raises `ValueError`."""
    if not place.is_file():
        return {}
    entries = json.loads(place.read_text(encoding="utf-8"))
    if type(entries) is not dict or not all(type(e) is dict and type(e.get("status")) is str for e in entries.values()):
        raise ValueError(f"{place}: not a record of claims")
    return entries


def packed(certificate: dict[str, Any]) -> str:
    """A certificate as a word.

    >>> unpacked(packed({"kind": "truth", "value": True}))
    {'kind': 'truth', 'value': True}
    """
    plain = json.dumps(certificate, ensure_ascii=False, separators=(",", ":"))
    return base64.b85encode(zlib.compress(plain.encode(), 9)).decode()


def unpacked(word: str) -> Any:
    """The certificate; raises `ValueError` for what is none."""
    reader = zlib.decompressobj()
    try:
        plain = reader.decompress(base64.b85decode(word), LARGEST)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if reader.unconsumed_tail:
        raise ValueError("a certificate that is too large")
    return json.loads(plain)


def recorded(path: Path) -> tuple[ClaimReport, ...]:
    """The claims of a file as its record has them; those without a proof that verifies and is about this text are open.

    Raises `OptError` if the file cannot be parsed, `ValueError` if the record cannot be read.
    """
    file, library, entries = load(path), Library(path.parent), read(beside(path))
    return tuple(_claim(file, claim, library, entries.get(claim.name)) for claim in file.claims)


def _claim(file: s.File, claim: s.Claim, library: Library, entry: Entry | None) -> ClaimReport:
    began = time.monotonic()
    rule, line = file.head.name, line_of(claim)

    def open_(reason: str) -> ClaimReport:
        return ClaimReport(rule, claim.name, "open", "", time.monotonic() - began, reason=reason, line=line)

    if entry is None:
        return open_("not recorded; `dotopt check --record` does it")
    changed = ", ".join(differing(entry.get("texts", {}), texts(file, claim, library)))
    if changed:
        return open_(f"recorded for another text, {changed} changed since; `dotopt check --record` decides it anew")
    try:
        certificate: Any = unpacked(entry["certificate"]) if "certificate" in entry else None
        if entry["status"] == "proved" and not verify(certificate, subject(file, claim, library), work=0):
            return open_("the recorded certificate does not verify")
        kept = {key: entry[key] for key in KEPT if key in entry} | {"assumptions": tuple(entry.get("assumptions", ()))}
        kept.setdefault("procedure", "")
        seconds = time.monotonic() - began
        return ClaimReport(rule, claim.name, seconds=seconds, certificate=certificate, line=line, **kept)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return open_(f"the record cannot be read: {error}")


def differing(before: Texts, now: Texts) -> Iterator[str]:
    """The names of the texts that are not the same."""
    yield from (name for name in {**now, **before} if before.get(name) != now.get(name))


def verified(place: Path) -> Iterator[tuple[str, str, bool]]:
    """Each proof of a record, whichever text it is about: its claim, its procedure, and whether it verifies, by z3
    where it trusts z3; raises `ValueError` if the record cannot be read."""
    for name, entry in read(place).items():
        if entry["status"] == "proved":
            try:
                yield name, str(entry.get("procedure")), verify(unpacked(entry["certificate"]))
            except (ValueError, LookupError, TypeError, AttributeError):
                yield name, str(entry.get("procedure")), False


__all__ = ["SUFFIX", "beside", "differing", "packed", "read", "recorded", "texts", "unpacked", "verified", "write"]
