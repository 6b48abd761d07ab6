"""From file to class: by path, from the library, as a written module; and the cache on disk that all of them share."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import pickle
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import dotopt
import dotopt.stdlib as stdlib
from dotopt.runtime.loading import cache, catalogue, load

ROOT = Path(__file__).parent.parent
HEAVY_BALL = """\
\"\"\"Heavy ball.\"\"\"
rule HeavyBall
objective f
param θ : real[...]
hyper η as lr >= 0 = 0.1
hyper μ in [0, 1) = 0.9
state b as buffer : like θ = 0
b' = μ*b + ∇f(θ)
θ' = θ - η*b'
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of its own for this test, on disk and in memory: classes that other tests hold stay what they are."""
    monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(load, "_loaded", functools.cache(load._loaded.__wrapped__))
    monkeypatch.setattr(load, "_composed", functools.cache(load._composed.__wrapped__))
    return tmp_path


def forget() -> None:
    """What another process would not know."""
    load._loaded.cache_clear()
    load._composed.cache_clear()


def write(path: Path, text: str = HEAVY_BALL) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "cache").glob("*.json"))


def step(cls, **options):
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = cls([p], **options, backend="torch")
    for _ in range(2):
        p.grad = torch.full_like(p, 0.5)
        optimizer.step()
    return p.detach()


def test_a_file_becomes_a_module_with_its_class(folder) -> None:
    module = dotopt.load(write(folder / "heavy.opt"))
    assert module.__all__ == ["HeavyBall"] and issubclass(module.HeavyBall, torch.optim.Optimizer)
    assert module.HeavyBall.__doc__ == "Heavy ball."
    torch.testing.assert_close(step(module.HeavyBall), torch.full((3,), 1 - 0.05 - 0.095, dtype=torch.float64))
    assert dotopt.load(folder / "heavy.opt") is module


def test_a_changed_file_is_another_module(folder) -> None:
    path = write(folder / "heavy.opt")
    first = dotopt.load(path).HeavyBall
    write(path, HEAVY_BALL.replace("= 0.9", "= 0.5"))
    second = dotopt.load(path).HeavyBall
    assert (first.rule.hypers[1].default, second.rule.hypers[1].default) == (0.9, 0.5)


def test_a_change_in_what_a_rule_is_made_of_is_noticed(folder) -> None:
    write(folder / "heavy_ball.opt")
    path = write(folder / "warm.opt", "rule Warm = WarmUp(HeavyBall, warmup_steps=1)\n")
    assert torch.allclose(step(dotopt.load(path).Warm), torch.tensor(0.855, dtype=torch.float64))
    write(folder / "heavy_ball.opt", HEAVY_BALL.replace("= 0.9", "= 0"))
    forget()
    assert torch.allclose(step(dotopt.load(path).Warm), torch.tensor(0.9, dtype=torch.float64))


def test_the_second_process_needs_no_compiler(folder) -> None:
    path = write(folder / "heavy.opt")
    dotopt.load(path)
    code = f"""
        import sys, torch, dotopt
        cls = dotopt.load({str(path)!r}).HeavyBall
        from dotopt.stdlib import Lion
        print({{"lark", "sympy", "z3", "dotopt.compiler.parse", "dotopt.compiler.lower"}} & set(sys.modules) or "none")
    """
    load.stdlib("Lion")
    assert run(code).stdout == "none\n"


@pytest.mark.parametrize("damage", ["half", "empty", "other text", "not json", "no uses"])
def test_a_damaged_entry_is_rebuilt_and_not_trusted(folder, damage) -> None:
    path = write(folder / "heavy.opt")
    wanted = step(dotopt.load(path).HeavyBall)
    (entry,) = entries(folder)
    whole = entry.read_text()
    content = json.loads(whole)
    match damage:
        case "half":
            entry.write_text(whole[: len(whole) // 2])
        case "empty":
            entry.write_text("")
        case "other text":
            entry.write_text(json.dumps(content | {"text": "raise SystemExit('somebody else wrote this')"}))
        case "not json":
            entry.write_bytes(b"\xff\x00\x01")
        case "no uses":
            entry.write_text(json.dumps({"hash": content["hash"], "text": content["text"]}))
    forget()
    torch.testing.assert_close(step(dotopt.load(path).HeavyBall), wanted)
    assert entry.read_text() == whole


def test_an_entry_of_another_version_is_not_used(folder, monkeypatch) -> None:
    path = write(folder / "heavy.opt")
    dotopt.load(path)
    forget()
    monkeypatch.setattr(cache, "toolchain", lambda: "another compiler")
    dotopt.load(path)
    assert len(entries(folder)) == 2


def test_a_cache_that_cannot_be_written_costs_time_only(folder, monkeypatch) -> None:
    blocked = folder / "file"
    blocked.write_text("")
    monkeypatch.setenv("DOTOPT_CACHE", str(blocked / "below"))
    assert torch.isfinite(step(dotopt.load(write(folder / "heavy.opt")).HeavyBall)).all()


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        check=False,
    )


def test_eight_processes_at_once(folder) -> None:
    path = write(folder / "heavy.opt")
    code = textwrap.dedent(f"""
        from pathlib import Path
        from dotopt.runtime.loading import cache, load
        for path in (Path({str(path)!r}), Path("stdlib/optimizers/adan.opt").resolve()):
            entry = cache.fetch(cache.key(path.read_bytes(), ""), lambda: load._built(path, "file"))
            print(cache.digest(entry.text.encode()))
    """)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True, stdout=-1, stderr=-1)
        for _ in range(8)
    ]
    finished = [process.communicate() for process in started]
    assert {process.returncode for process in started} == {0}, finished
    assert len({out for out, _ in finished}) == 1
    assert len(entries(folder)) == 2 and not list((folder / "cache").glob("*.tmp"))


def test_a_written_module_stands_on_torch_and_the_runtime(folder) -> None:
    out = folder / "written.py"
    dotopt.compile(ROOT / "stdlib" / "optimizers" / "adan.opt", out)
    text = out.read_text()
    assert "dotopt.compiler" not in text and "def step1(" in text and "# d  = g - p" in text
    code = f"""
        import sys, torch
        sys.path.insert(0, {str(folder)!r})
        from written import Adan
        p = torch.ones(3, requires_grad=True)
        p.grad = torch.ones(3)
        Adan([p], lr=0.1, no_prox=True).step()
        assert not [name for name in sys.modules if name.startswith("dotopt.compiler")]
        print(float(p[0]))
    """
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(0.9)
    spec = importlib.util.spec_from_file_location("written_adan", out)
    module = importlib.util.module_from_spec(spec)
    sys.modules["written_adan"] = module
    spec.loader.exec_module(module)
    p = torch.ones(3, requires_grad=True)
    optimizer = pickle.loads(pickle.dumps(module.Adan([p], lr=0.3)))
    assert type(optimizer) is module.Adan and optimizer.param_groups[0]["lr"] == 0.3


def test_a_composition_of_a_rule_in_a_folder_of_any_name(folder) -> None:
    place = folder / "a; b=c, (d)"
    place.mkdir()
    warm = load.stdlib("WarmUp")(dotopt.load(write(place / "heavy_ball.opt")).HeavyBall, warmup_steps=1)
    assert torch.allclose(step(warm), torch.tensor(0.855, dtype=torch.float64))
    assert pickle.loads(pickle.dumps(warm([torch.ones(3, requires_grad=True)]))).rule.name == "WarmUpHeavyBall"
    ((outer, inner, given), name) = warm.origin[1:]
    assert (outer[2], inner[1], given, name) == (
        "WarmUp", str(place / "heavy_ball.opt"), (("warmup_steps", 1),), "WarmUpHeavyBall"
    )  # fmt: skip


def test_a_composed_rule_finds_the_formulas_beside_it(folder) -> None:
    write(folder / "half.opt", "formula half(v : real[...]) = v/2\n")
    path = write(folder / "heavy.opt", HEAVY_BALL.replace("∇f(θ)", "half(∇f(θ))") + "use half\n")
    warm = load.stdlib("WarmUp")(dotopt.load(path).HeavyBall, warmup_steps=1)
    assert torch.allclose(step(warm), torch.tensor(0.9275, dtype=torch.float64))


def test_two_parts_of_one_name_are_refused(folder) -> None:
    (folder / "own").mkdir()
    text = "transform WarmUp\nbase B\nparam θ : real[...]\nθ' = B(θ)\n"
    own = dotopt.load(write(folder / "own" / "warm_up.opt", text))
    with pytest.raises(dotopt.OptError, match="E511.*`WarmUp`"):
        own.WarmUp(load.stdlib("WarmUp")(load.stdlib("Lion")))


def test_imports_are_cheap(folder) -> None:
    """`import dotopt` brings one module, and a rule from the cache the runtime alone: no compiler, no other package."""
    load.stdlib("Lion")
    code = """
        import sys, torch
        before = set(sys.modules)
        import dotopt
        print(*sorted(set(sys.modules) - before))
        from dotopt.stdlib import Lion
        print(*sorted({name.split(".")[0] for name in sys.modules} - {name.split(".")[0] for name in before}))
        print(*sorted(name for name in sys.modules if name.startswith("dotopt.compiler.")))
    """
    assert run(code).stdout.splitlines() == ["dotopt", "dotopt", ""]


def test_names_that_do_not_exist() -> None:
    with pytest.raises(ImportError, match="NoSuchRule"):
        from dotopt.stdlib import NoSuchRule  # noqa: F401
    with pytest.raises(AttributeError, match=r"dotopt.stdlib has no `lion`; lion.opt defines Lion"):
        dotopt.stdlib.lion  # noqa: B018


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "E901"),
        (b"\xff\xfe\x00rule", "E90"),
        (b"rule Broken\nparam x : real[...]\nx' = y\n", "E201"),
        (b"theorem Nothing\nclaim a:\n  show 1 == 1\n", "E606.*`Nothing` is a theorem"),
    ],
)
def test_what_cannot_be_loaded_says_why(folder, content, code) -> None:
    path = folder / "broken.opt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(dotopt.OptError, match=code):
        dotopt.load(path)
    assert not entries(folder)


def test_what_is_not_compiled_yet_is_named() -> None:
    """Every rule and transform of the library loads; a formula that is no function says so, a theorem what it is."""
    refused = {}
    for entry in catalogue.entries():
        try:
            load.stdlib(entry.name)
        except dotopt.OptError as error:
            refused[entry.name] = (entry.word, *(d.code for d in error.diagnostics), str(error.diagnostics[0].help))
    assert {word for word, *_ in refused.values()} <= {"formula", "theorem"}
    for name, (word, code, help) in refused.items():
        assert code == ("E606" if word == "theorem" else "E601")
        assert (f"`dotopt check {name}`" if word == "theorem" else f"`use {name}` in a rule") in help
    assert {entry.name for entry in catalogue.entries() if entry.word == "theorem"} == {
        name for name, (word, *_) in refused.items() if word == "theorem"
    }
    assert "Lion" in dir(dotopt.stdlib) and "SGDStability" not in dir(dotopt.stdlib)


def test_a_default_outside_its_range_is_refused_on_loading_too(folder) -> None:
    path = write(folder / "heavy.opt", HEAVY_BALL + "\nhyper k : int > 0 = 2.5\n")
    with pytest.raises(dotopt.OptError) as caught:
        dotopt.load(path)
    assert [found.code for found in caught.value.diagnostics] == ["E303"]


def test_a_transform_alone_is_written_as_a_module(tmp_path) -> None:
    """It composes with optimizers of the library like the one that was loaded."""
    dotopt.compile(ROOT / "stdlib" / "transforms" / "lookahead.opt", tmp_path / "out.py")
    written = runpy.run_path(str(tmp_path / "out.py"))["Lookahead"]
    assert written(dotopt.load(ROOT / "stdlib" / "optimizers" / "sgd.opt").SGD).__name__ == "LookaheadSGD"


SNAPSHOT = "rule Moved\nobjective f\nparam x : real[...]\nhyper η as lr >= 0 = 1\nuse {}\nx' = x - η*{}({}*∇f(x))\n"


@pytest.mark.parametrize("edited", ["moved.opt", "factor.opt"])
@pytest.mark.parametrize("around", [False, True])
def test_a_file_that_is_edited_after_loading_changes_no_class(edited: str, around: bool, tmp_path: Path) -> None:
    """The kernels are compiled at the first step, of the text that was loaded; a later load takes the new text."""
    (tmp_path / "factor.opt").write_text("formula factor(a : real[...]) = 2*a\n", encoding="utf-8")
    (tmp_path / "moved.opt").write_text(SNAPSHOT.format("factor", "factor", "1"), encoding="utf-8")

    def loaded():
        cls = dotopt.load(tmp_path / "moved.opt").Moved
        return stdlib.ClipValue(cls, clip_value=1e9) if around else cls

    def moved(cls, backend: str) -> float:
        x = torch.nn.Parameter(torch.zeros(3))
        x.grad = torch.ones(3)
        cls([x], lr=1.0, backend=backend).step()
        return x.tolist()[0]

    before = loaded()
    text = (tmp_path / edited).read_text(encoding="utf-8")
    (tmp_path / edited).write_text(text.replace("2*a", "5*a").replace("(1*", "(2.5*"), encoding="utf-8")
    assert [moved(before, backend) for backend in ("torch", "cpu")] == [-2.0, -2.0]
    after = loaded()
    assert [moved(after, backend) for backend in ("torch", "cpu")] == [-5.0, -5.0]
    assert [moved(before, backend) for backend in ("torch", "cpu")] == [-2.0, -2.0]
    assert pickle.loads(pickle.dumps(before.origin)) == before.origin
