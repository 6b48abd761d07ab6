"""What is kept between runs is read only where nobody else can have written it."""

from __future__ import annotations

import errno
import os
import pickle
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dotopt.grammar import cache, tables
from dotopt.runtime.backends import build
from dotopt.runtime.loading import cache as modules

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no modes of files")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the cache, which is not there yet."""
    monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path / "cache"))
    cache._refuse.cache_clear()
    yield tmp_path / "cache"
    cache._refuse.cache_clear()


def kept(text: str) -> str:
    """What a cache that was asked for the module `name` answers, if it would be `text` when made again."""
    return modules.fetch("name", lambda: modules.Entry(text, {})).text


def test_what_is_written_is_for_this_user_alone(place: Path) -> None:
    assert kept("old") == kept("new") == "old"
    (entry,) = place.iterdir()
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_is_not_used(place: Path, mode: int) -> None:
    kept("theirs")
    place.chmod(mode)
    with pytest.warns(UserWarning, match="others may write it"):
        assert kept("mine") == "mine"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        assert build.cache_folder() is None
    assert len(list(place.iterdir())) == 1


def test_a_folder_of_somebody_else_is_not_used(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept("theirs")
    somebody = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody)
    with pytest.warns(UserWarning, match="belongs to somebody else"):
        assert kept("mine") == "mine"


def test_a_folder_may_be_a_link_of_the_user(place: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir(mode=0o700)
    place.symlink_to(tmp_path / "scratch")
    assert kept("old") == kept("new") == "old"
    (tmp_path / "scratch").chmod(0o777)
    with pytest.warns(UserWarning):
        assert kept("new") == "new"


def test_an_entry_that_others_may_write_is_made_again(place: Path) -> None:
    kept("theirs")
    (entry,) = place.iterdir()
    entry.chmod(0o666)
    assert kept("mine") == "mine"
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600


def test_an_entry_that_is_a_link_is_made_again(place: Path, tmp_path: Path) -> None:
    kept("theirs")
    (entry,) = place.iterdir()
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    assert kept("mine") == "mine"
    assert not cache.trusted(tmp_path / "absent") and not cache.trusted(tmp_path)


def test_a_shared_object_that_others_may_write_is_not_loaded(place: Path) -> None:
    folder = build.cache_folder()
    assert folder is not None
    (folder / "kernel.so").write_bytes(b"")
    assert cache.trusted(folder / "kernel.so")
    (folder / "kernel.so").chmod(0o722)
    assert not cache.trusted(folder / "kernel.so") and build._opened(folder / "kernel.so", ()) is None


class Trap:
    """Would make a folder when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_tables_of_the_grammar_run_nothing(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.parser.__wrapped__()
    (entry,) = place.glob("grammar-*")
    entry.write_bytes(pickle.dumps(Trap(tmp_path / "made")))
    assert tables.parser.__wrapped__().parse("theorem A\n") is not None
    assert not (tmp_path / "made").exists()
    assert pickle.loads(entry.read_bytes())["data"]  # written again


def test_a_full_disk_leaves_nothing_behind(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "replace", full)
        assert kept("made") == "made"
        assert tables.parser.__wrapped__() is not None
    assert list(place.iterdir()) == []
