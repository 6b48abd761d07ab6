"""A wheel, an editable install and a source distribution all carry the grammar and every `.opt` file.

Each test installs a copy of this checkout into a new virtual environment and asks it, from outside the checkout, what
it can read. Torch and the other dependencies come from the environment of the tests, through a path entry.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    "dotopt", "grammar", "compiler", "stdlib", "runtime", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md",
    "LICENSE",
)  # fmt: skip

ASK = """
import importlib.metadata, importlib.resources, json, pathlib, dotopt, dotopt.compiler, dotopt.runtime
import dotopt.compiler.probe.inner

def data(package, pattern):
    top = pathlib.Path(str(importlib.resources.files(f"dotopt.{package}")))
    return [f"{package}/{path.relative_to(top).as_posix()}" for path in top.rglob(pattern)]

print(json.dumps({
    "file": dotopt.__file__,
    "version": dotopt.__version__,
    "metadata": importlib.metadata.version("dotopt"),
    "data": sorted(data("grammar", "*.lark") + data("stdlib", "*.opt")),
    "typed": importlib.resources.files("dotopt").joinpath("py.typed").is_file(),
}))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this checkout, symlinks kept, with a nested package and a nested `.opt` file that no list can know.

    Its folder is called `dotopt`, as a clone is, and the questions are asked beside it: the folder must not be
    mistaken for the package.
    """
    copy = tmp_path / "dotopt"
    copy.mkdir()
    for part in map(ROOT.joinpath, PARTS):
        if part.is_dir():
            shutil.copytree(part, copy / part.name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(part, copy)
    assert (copy / "dotopt/grammar").is_symlink()
    write(copy / "compiler/probe/__init__.py", "")
    write(copy / "compiler/probe/inner/__init__.py", "")
    write(copy / "stdlib/probe/inner/added.opt", "rule Added\n")
    return copy


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The interpreter of a new virtual environment: no dotopt, the dependencies of the tests."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    outer = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    write(site / "dependencies.pth", "\n".join(outer) + "\n")
    return python


def test_install_from_checkout(checkout: Path, fresh: Path) -> None:
    install(fresh, str(checkout))
    answer = ask(fresh, beside=checkout)
    assert not Path(answer["file"]).is_relative_to(checkout)
    assert answer["data"] == data_files(checkout)
    assert command(fresh).is_file()


@pytest.fixture
def unlinked(checkout: Path) -> Path:
    """The same checkout as a ZIP or `core.symlinks=false` leaves it: text files in the place of symbolic links."""
    for link in [path for path in (checkout / "dotopt").iterdir() if path.is_symlink()]:
        target = os.readlink(link)
        link.unlink()
        write(link, target)
    return checkout


def test_install_from_a_checkout_without_links(unlinked: Path, fresh: Path) -> None:
    install(fresh, str(unlinked))
    answer = ask(fresh, beside=unlinked)
    assert not Path(answer["file"]).is_relative_to(unlinked)
    assert answer["data"] == data_files(unlinked)
    assert "Lion" in run(command(fresh), "list", "--names", folder=unlinked.parent).split()
    run(command(fresh), "compile", "Lion", "-o", "made.py", folder=unlinked.parent)
    assert "class Lion(" in (unlinked.parent / "made.py").read_text(encoding="utf-8")
    report = json.loads(run(command(fresh), "check", "Lion", "--format", "json", folder=unlinked.parent))
    assert {claim["status"] for claim in report["claims"]} == {"proved"}


def test_a_checkout_without_links_runs_where_it_stands(unlinked: Path) -> None:
    names = run(Path(sys.executable), "-m", "dotopt", "list", "--names", folder=unlinked)
    assert {"Lion", "AdamW"} <= set(names.split())
    shutil.rmtree(unlinked / "compiler")
    with pytest.raises(AssertionError, match="checkout without symbolic links"):
        run(Path(sys.executable), "-c", "import dotopt", folder=unlinked)


def test_editable_install_sees_new_files(checkout: Path, fresh: Path) -> None:
    install(fresh, "--editable", str(checkout))
    write(checkout / "stdlib/probe/later.opt", "rule Later\n")
    answer = ask(fresh, beside=checkout)
    assert Path(answer["file"]) == checkout / "dotopt/__init__.py"
    assert "stdlib/probe/later.opt" in answer["data"]
    assert answer["data"] == data_files(checkout)
    assert command(fresh).is_file()


def test_wheel_of_source_distribution(checkout: Path, fresh: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    # With neither --sdist nor --wheel, the wheel is built from the unpacked source distribution.
    run(Path(sys.executable), "-m", "build", "--no-isolation", "--outdir", str(output), str(checkout))
    [source], [wheel] = output.glob("dotopt-*.tar.gz"), output.glob("dotopt-*.whl")
    with tarfile.open(source) as archive:
        assert not [name for name in archive.getnames() if "/tests/" in name], "all of the tests or none"
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert tops == {"dotopt", wheel.name.split("-py3")[0] + ".dist-info"}, "only `dotopt` may be importable"
    install(fresh, str(wheel))
    assert ask(fresh, beside=checkout)["data"] == data_files(checkout)


def data_files(checkout: Path) -> list[str]:
    """The grammar and every `.opt` file of a checkout, as the installed package should list them."""
    found = [*(checkout / "grammar").rglob("*.lark"), *(checkout / "stdlib").rglob("*.opt")]
    names = sorted(path.relative_to(checkout).as_posix() for path in found)
    assert {"grammar/opt.lark", "stdlib/probe/inner/added.opt"} <= set(names)
    return names


def install(python: Path, *what: str) -> None:
    """Install into the environment of `python` with the pip and setuptools of the tests, without any download."""
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    run(Path(sys.executable), "-m", "pip", "--python", str(python), "install", *options, *what)


def ask(python: Path, beside: Path) -> dict[str, Any]:
    """What an installed dotopt says of itself to a script in the folder that holds the checkout."""
    script = beside.parent / "ask.py"
    write(script, ASK)
    answer: dict[str, Any] = json.loads(run(python, str(script), folder=beside.parent))
    assert answer["typed"]
    assert answer["version"] == answer["metadata"]
    return answer


def command(python: Path) -> Path:
    """The console script `dotopt` of the environment of `python`."""
    return python.with_name("dotopt.exe" if os.name == "nt" else "dotopt")


def run(python: Path, *arguments: str, folder: Path | None = None) -> str:
    """The standard output of `python ARGUMENTS`, started in `folder` without the paths of this test run."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [python, *arguments], cwd=folder, env=environment, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
