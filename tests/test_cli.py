"""The command line as a user meets it: exit codes, streams, and no traceback for anything."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dotopt import __version__
from dotopt.runtime import cli
from dotopt.runtime.commands.new import TEMPLATES

GOOD = "rule A\nobjective f\nparam x : real[...]\nhyper lr > 0 = 0.1\nx' = x - lr*∇f(x)\n"
BROKEN = "rule A\nobjective f\nparam x : real[...]\nx' = x - lr*∇f(x)\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DOTOPT_DEBUG", raising=False)
    return tmp_path


def dotopt(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The program itself, in a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "dotopt", *arguments],
        input=stdin, capture_output=True, text=True, encoding="utf-8", env=os.environ | environment,
    )  # fmt: skip


def test_version() -> None:
    done = dotopt("--version")
    assert (done.returncode, done.stdout) == (0, f"dotopt {__version__}\n")


def test_wrong_usage_is_2() -> None:
    assert dotopt().returncode == 2
    assert dotopt("frobnicate").returncode == 2
    assert dotopt("explain").returncode == 2
    for command in (["explain", "Adam", "-o", "nesterov"], ["bench", "Nobody"], ["bench", "--work", "none"]):
        done = dotopt(*command)
        assert (done.returncode, done.stdout) == (2, ""), command
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_an_error_is_1_with_place_and_no_traceback(here: Path) -> None:
    (here / "a.opt").write_text(BROKEN, encoding="utf-8")
    for command in (["check", "a.opt"], ["explain", "a.opt"], ["compile", "a.opt"]):
        done = dotopt(*command)
        assert done.returncode == 1, command
        assert "error[E201]" in done.stderr and "a.opt:4:" in done.stderr
        assert "Traceback" not in done.stderr and "\033" not in done.stderr
    assert dotopt("check", "missing.opt").stderr.startswith("error[E901]")
    assert "error[E902]" in dotopt("explain", str(here)).stderr
    (here / "nul.opt").write_bytes(b"rule A\0\xff")
    assert "error[E90" in dotopt("check", "nul.opt").stderr


def test_a_name_is_found_in_any_case_and_a_near_one_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "lion"]) == 0
    assert "Lion(params, lr=1e-4" in capsys.readouterr().out
    assert cli.main(["explain", "Lions"]) == 1
    assert "did you mean `Lion`?" in capsys.readouterr().err


def test_check_says_open_with_3_and_speaks_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "good.opt").write_text(GOOD, encoding="utf-8")
    assert cli.main(["check", "good.opt"]) == 0
    (here / "broken.opt").write_text(BROKEN, encoding="utf-8")
    capsys.readouterr()
    assert cli.main(["check", "good.opt", "broken.opt", "--format", "json"]) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    backends = {"torch": None, "cpu": None, "triton": None}
    assert first == {
        "file": "good.opt", "claims": [], "chunks": [], "backends": backends, "errors": [], "warnings": [],
    }  # fmt: skip
    (error,) = second["errors"]
    assert (error["code"], error["line"], error["severity"]) == ("E201", 4, "error")


CLAIMED = f"""{GOOD}claim a:
  show x' == x - lr*∇f(x)
claim b:
  show |x'| < 1
claim c:
  given lr < 0
  show x == 0
"""


def test_check_decides_claims(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.opt").write_text(CLAIMED, encoding="utf-8")
    assert cli.main(["check", "a.opt"]) == 1
    lines = (line.split()[:2] for line in capsys.readouterr().out.splitlines())
    rows = [row for row in lines if row and row[0] in "abc"]  # a narrow terminal folds the last column
    assert rows == [["a", "proved"], ["b", "refuted"], ["c", "vacuous"]]
    assert cli.main(["check", "a.opt", "--format", "json"]) == 1
    claims = {claim["name"]: claim for claim in json.loads(capsys.readouterr().out)["claims"]}
    assert claims["a"]["certificate"] and not claims["a"]["counterexample"]
    assert claims["b"]["counterexample"] and claims["b"]["line"] == 8
    contract = "rule name status procedure seconds certificate counterexample assumptions"
    assert set(contract.split()) <= set(claims["a"])
    (here / "a.opt").write_text(CLAIMED.partition("claim b")[0], encoding="utf-8")
    assert cli.main(["check", "a.opt"]) == 0


def test_derive_prints_the_constants(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["derive", "ModifiedEquation"]) == 0
    printed = capsys.readouterr().out
    assert "a = 1/3" in printed and "b = 1/12" in printed
    assert cli.main(["derive", "Lion"]) == 0
    assert "sign(c) is not linear" in capsys.readouterr().out
    assert cli.main(["derive", "norm1"]) == 0
    assert "no claim derives anything" in capsys.readouterr().out


def test_compile_writes_a_module_that_stands_alone(here: Path) -> None:
    assert cli.main(["compile", "Lion", "-o", "made.py"]) == 0
    program = """
import sys, torch, made
x = torch.nn.Parameter(torch.ones(3))
optimizer = made.Lion([x], lr=0.5, backend="torch")
x.grad = torch.ones(3)
optimizer.step()
print(x.tolist(), [m for m in ("lark", "z3", "dotopt.compiler.parse") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=here)
    assert done.stdout == "[0.5, 0.5, 0.5] []\n", done.stderr


def test_the_importer_finds_files_on_the_path(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dotopt.importer  # noqa: F401

    (here / "my_rule.opt").write_text(GOOD.replace("rule A", "rule MyRule"), encoding="utf-8")
    (here / "shadowed.opt").write_text(GOOD, encoding="utf-8")
    (here / "shadowed.py").write_text("value = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.delitem(sys.modules, "my_rule", raising=False)
    module = importlib.import_module("my_rule")
    assert module.MyRule.__name__ == "MyRule"
    assert module.__name__ == "my_rule" and module.__spec__.origin == str(here / "my_rule.opt")
    assert importlib.import_module("shadowed").value == 1, "a .py file wins"
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("my_rules")


def test_the_importer_does_not_answer_to_installed_libraries(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`try: import cupy` in a library does not find a `cupy.opt` of the user's folder."""
    import dotopt.importer  # noqa: F401

    (here / "optional.opt").write_text(GOOD, encoding="utf-8")
    monkeypatch.syspath_prepend(str(here))
    probes = "import importlib.util\ntry:\n    import optional as found\nexcept ImportError:\n    found = None\n"
    probes += "spec = importlib.util.find_spec('optional')\n"
    library, own = {"__name__": "library"}, {"__name__": "own"}
    place = Path(pytest.__file__).parent.parent / "library" / "__init__.py"
    exec(compile(probes, str(place), "exec"), library)
    assert (library["found"], library["spec"]) == (None, None)
    exec(compile(probes, str(here / "own.py"), "exec"), own)
    assert own["found"].A.__name__ == "A" and own["spec"] is not None
    monkeypatch.delitem(sys.modules, "optional")


def test_fmt(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = here / "a.opt"
    untidy = GOOD.replace(" = ", "=")
    path.write_text(untidy, encoding="utf-8")
    assert cli.main(["fmt", "--check", "a.opt"]) == 1
    assert path.read_text(encoding="utf-8") == untidy
    assert cli.main(["fmt", "a.opt"]) == 0
    tidy = path.read_text(encoding="utf-8")
    assert "x' = x - lr*∇f(x)" in tidy
    assert cli.main(["fmt", "--check", "a.opt"]) == 0
    assert cli.main(["fmt", "--ascii", "a.opt"]) == 0
    assert path.read_text(encoding="utf-8").isascii()
    assert cli.main(["fmt", "--unicode", "a.opt"]) == 0
    assert path.read_text(encoding="utf-8") == tidy
    assert dotopt("fmt", "-", stdin=untidy).stdout == tidy
    (here / "broken.opt").write_text("rule\n", encoding="utf-8")
    path.write_text(untidy, encoding="utf-8")
    assert cli.main(["fmt", "broken.opt", "a.opt"]) == 1
    assert path.read_text(encoding="utf-8") == tidy, "one broken file does not stop the others"


@pytest.mark.parametrize("kind", TEMPLATES)
@pytest.mark.parametrize("spelling", [[], ["--ascii"]], ids=["symbols", "ascii"])
def test_every_template_checks_and_is_in_house_style(kind: str, spelling: list[str], here: Path) -> None:
    assert cli.main(["new", "FirstTry", "--kind", kind, *spelling]) == 0
    path = here / "first_try.opt"
    assert path.read_text(encoding="utf-8").isascii() == bool(spelling)
    assert cli.main(["check", "first_try.opt"]) in (0, 3)
    assert cli.main(["fmt", "--check", "first_try.opt"]) == 0
    assert cli.main(["new", "FirstTry"]) == 1, "it does not overwrite"


def test_new_refuses_what_is_no_name() -> None:
    assert cli.main(["new", "2fast"]) == 1
    assert cli.main(["new", "../x"]) == 1


def test_list_in_a_pipe_is_plain() -> None:
    done = dotopt("list", "--family", "optimizers")
    assert "arXiv:2302.06675" in done.stdout and "\033" not in done.stdout
    names = dotopt("list", "--names").stdout.split()
    assert {"Lion", "Muon", "Lookahead", "newton_schulz"} <= set(names)
    assert len(names) == len(set(names))


def test_colours_on_a_terminal_and_none_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    from dotopt.runtime.report import console

    for variable, coloured in (("TTY_COMPATIBLE", True), ("NO_COLOR", False)):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv(variable, "1")
        made = console._console(stderr=False)
        with made.capture() as captured:
            made.print("[red]x[/red]")
        assert ("\033[31m" in captured.get()) == coloured


@pytest.mark.parametrize(
    ("form", "said"),
    [("--ir", "%0 = "), ("--latex", r"\begin{aligned}"), ("--torch", "class Adan(Optimizer)"), ("--cpu", "#include")],
)
def test_other_forms(form: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "Adan", form]) == 0
    assert said in capsys.readouterr().out


def test_the_kernel_of_a_rule_that_asks_for_the_rank_is_that_of_a_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "AuON", "--cpu"]) == 0
    assert "#include" in capsys.readouterr().out


def test_a_form_that_a_rule_does_not_have_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "DeltaMemory", "--cpu"]) == 1
    assert "error[E601]" in capsys.readouterr().err


def test_timeline(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "Lion", "--timeline", "4"]) == 0
    assert capsys.readouterr().out.count("●") == 8


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("by zero"), 70, "internal error: ZeroDivisionError: by zero"),
        (RecursionError("deep\nand deeper"), 70, "internal error: RecursionError: deep ("),
        (MemoryError(), 70, "internal error: MemoryError"),
    ],
)
def test_every_failure_is_a_sentence(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_run", fails)
    assert cli.main(["list"]) == code
    printed = capsys.readouterr().err
    assert said in printed and "Traceback" not in printed and printed.count("\n") == 1
    if code == 70:
        assert "DOTOPT_DEBUG=1" in printed
        monkeypatch.setenv("DOTOPT_DEBUG", "1")
        with pytest.raises(type(error)):
            cli.main(["list"])


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m dotopt list | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_the_import_is_lazy() -> None:
    """`import dotopt` loads neither torch nor the compiler; `explain --ir` no torch, SymPy or z3."""
    program = "import sys, dotopt; print([m for m in ('torch', 'lark', 'sympy', 'z3', 'rich') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
    program = (
        "import sys; from dotopt.runtime.cli import main; main(['explain', 'Lion', '--ir']); "
        "print([m for m in ('torch', 'sympy', 'z3') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.endswith("[]\n")


def test_public_names_exist() -> None:
    import dotopt as package

    assert set(package.__all__) <= set(dir(package))
    assert "Lion" in package.names()
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        package.lode  # noqa: B018
