"""Reports of claims on disk, under a hash of what they depend on; nothing is believed because it is there.

The key covers the parsed rule without its other claims, the claim, the files that either can name, and the engine:
white space, comments and other claims may change. An entry carries a code that only this user's secret makes, so that
one that is damaged, forged or moved to another claim is thrown away; a certificate says which claim it is about, and is
verified again. A folder that others own or can write is not used. What was left open stays open only for as long a
search as was made.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.statements.lemma_names import leans_on
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.library import Library, load
from dotopt.grammar.files import cache_directory


def folder() -> Path:
    """Where reports are kept: `$DOTOPT_CACHE`, else the cache folder of the user."""
    return cache_directory() / "claims"


@cache
def engine() -> str:
    """A hash of what decides: the compiler without the emitters, and the grammar."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *(root.parent / "grammar").glob("*.*")]):
        if "emit" not in path.parts:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def key(file: s.File, claim: s.Claim, library: Library) -> str:
    """The key of a claim.

    >>> from dotopt.compiler.parse import parse
    >>> from dotopt.compiler.text.source import Source
    >>> one, two = (parse(Source("a.opt", f"theorem A\\nclaim c:\\n  show 1 {x} 1\\n")) for x in ("==", " ==  "))
    >>> key(one, one.claims[0], Library()) == key(two, two.claims[0], Library())
    True
    """
    return hashlib.sha256(f"{engine()} {subject(file, claim, library)}".encode()).hexdigest()


def subject(file: s.File, claim: s.Claim, library: Library) -> str:
    """A hash of what is claimed: the claim, its rule, and the files that they name. Every certificate carries it."""
    digest = hashlib.sha256(text_of(file).encode())
    for needed in (claim, *leans_on(file, claim)):
        digest.update(repr(needed).encode())
    seen: set[Path] = set()
    for path, text in named(file, claim, library, seen):
        digest.update(f"{path.name} {text}".encode())
    return digest.hexdigest()


def text_of(file: s.File) -> str:
    """A rule without its claims, as parsed: white space and comments are not in it."""
    return repr(replace(file, statements=tuple(d for d in file.statements if not isinstance(d, s.Claim))))


def named(file: s.File, claim: s.Claim | None, library: Library, seen: set[Path]) -> Iterator[tuple[Path, str]]:
    """The files that a file (without its claims) and a claim can name, and those that these can: path and text."""
    parts = [d for d in file.statements if not isinstance(d, s.Claim)]
    names: dict[str, None] = {}
    for part in (file.head, *parts, *((claim,) if claim is not None else ())):
        for here in part.walk():
            if isinstance(here, s.Name):
                names[here.name] = None
            elif isinstance(here, s.Use):
                names.update(dict.fromkeys(i.name for i in here.names))
    for name in names:
        path = library.find(name)
        if path is None or path in seen:
            continue
        seen.add(path)
        try:
            other = load(path)
        except OptError:  # who needs it will say so; a name may only look like that of a file
            yield path, path.read_bytes().hex()
            continue
        yield path, text_of(other)
        yield from named(other, None, library, seen)


# ---- entries -------------------------------------------------------------------------------------------------------


def find(name: str, about: str, fuel: int) -> dict[str, Any] | None:
    """The report under this key, if it is genuine and its certificate is `about` this claim and still verifies."""
    if not private(folder()):
        return None
    try:
        entry: dict[str, Any] = json.loads((folder() / f"{name}.json").read_text(encoding="utf-8"))
        report, budget = entry["report"], entry["budget"]
        if not hmac.compare_digest(str(entry["code"]), _code(name, report, budget)):
            return None
        if report["status"] == "open" and budget < fuel:
            return None
        if report["status"] == "proved" and not verify(report["certificate"], about):
            return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return dict(report)


def keep(name: str, report: dict[str, Any], fuel: int) -> None:
    """Writes a report; a folder that cannot be written is no error."""
    plain = json.loads(json.dumps(report, ensure_ascii=False, default=str))
    try:
        folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        if not private(folder()):
            return
        entry = {"code": _code(name, plain, fuel), "budget": fuel, "report": plain}
        temporary = folder() / f"{name}.{os.getpid()}"
        temporary.write_text(json.dumps(entry, ensure_ascii=False), encoding="utf-8")
        temporary.replace(folder() / f"{name}.json")
    except OSError:
        return


def private(place: Path) -> bool:
    """Whether only this user can write here: what others may have written is not believed. Not known on Windows."""
    if not hasattr(os, "getuid"):
        return True
    try:
        found = os.lstat(place)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def _code(name: str, report: dict[str, Any], fuel: int) -> str:
    content = json.dumps([name, fuel, report], sort_keys=True, ensure_ascii=False)
    return hmac.new(_secret(), content.encode(), hashlib.sha256).hexdigest()


def _secret() -> bytes:
    """Random bytes that only this user can read, made at the first use."""
    path = folder() / "secret"
    try:
        found = path.read_bytes()
        if len(found) == 32:
            return found
    except FileNotFoundError:
        pass
    made = secrets.token_bytes(32)
    temporary = folder() / f"secret.{os.getpid()}"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(made)
    try:
        os.link(temporary, path)  # the first of several processes wins
    except OSError:
        if not path.is_file():
            temporary.replace(path)
            return made
    temporary.unlink(missing_ok=True)
    return path.read_bytes()
