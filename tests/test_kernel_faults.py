"""What may go wrong around a kernel: each either works, or says so before any parameter has moved."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import stat
import subprocess
import sys
import textwrap
import warnings
import weakref
from pathlib import Path

import pytest
import torch

import dotopt.stdlib as stdlib
from dotopt.runtime.backends import build, cpu, cpu_table, memory
from dotopt.runtime.backends import choice as backends

TEXT = "int dotopt_answer(void) { return 42; }"


def runs(code, **environment):
    """The output of a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, done.stderr


STEP = """
    import torch
    from dotopt.stdlib import Lion
    p = torch.nn.Parameter(torch.ones(5)); p.grad = torch.ones(5)
    o = Lion([p], lr=0.5)
    o.step(); o.step()
    print(p.tolist(), o._last is not None)
"""


@pytest.mark.parametrize("compiler", ["/nowhere/cc", "false"])
def test_without_a_working_compiler_there_is_one_warning_and_the_torch_code(compiler, tmp_path) -> None:
    (tmp_path / "cc").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    path = {"PATH": str(tmp_path) if compiler == "false" else str(tmp_path / "empty"), "CC": compiler}
    out, err = runs(STEP, DOTOPT_CACHE=str(tmp_path / "cache"), **path)
    assert out.strip() == "[0.0, 0.0, 0.0, 0.0, 0.0] False"
    assert err.count("torch backend, which is slower") == 1


FAULTS = {
    "writes nothing": "exit 0",
    "writes garbage": 'while [ "$1" != -o ]; do shift; done; echo garbage > "$2"',
    "writes an object of another machine": 'while [ "$1" != -o ]; do shift; done; head -c 64 {so} | tail -c 44 > "$2"',
    "forgets the functions": 'while [ "$1" != -o ]; do shift; done; echo | {cc} -x c -shared -fPIC -o "$2" -',
    "says something that is no text": "printf '\\377\\376' >&2; exit 1",
    "crashes": "kill -9 $$",
}


@pytest.mark.skipif(not cpu.available(), reason="no C compiler")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_compiler_that_makes_nothing_of_use(fault, tmp_path, monkeypatch) -> None:
    _compiler(tmp_path, monkeypatch, FAULTS[fault].replace("{so}", torch._C.__file__))
    with pytest.raises(build.BuildError):
        build.load(TEXT, "dotopt_answer")
    with pytest.warns(UserWarning, match="torch backend, which is slower"):
        assert not cpu.available()


def _compiler(folder, monkeypatch, text) -> None:
    """`text` is the compiler from now on."""
    script = folder / "cc"
    script.write_text("#!/bin/sh\n" + text.replace("{cc}", str(build.compiler())) + "\n")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    monkeypatch.setenv("DOTOPT_CACHE", str(folder / "cache"))


@pytest.mark.skipif(not cpu.available(), reason="no C compiler")
def test_a_compiler_that_hangs_is_waited_for_once(tmp_path, monkeypatch) -> None:
    """With all the processes that it has started."""
    _compiler(tmp_path, monkeypatch, f"echo $$ >> {tmp_path}/pids; sleep 600 & echo $! >> {tmp_path}/pids; wait")
    monkeypatch.setattr(build, "LIMIT", 0.5)
    for _ in range(2):
        with pytest.raises(build.BuildError, match="did not end within 0.5 seconds"):
            build.load(TEXT, "dotopt_answer")
    pids = list(map(int, (tmp_path / "pids").read_text().split()))
    assert len(pids) == 2
    assert {_state(pid) for pid in pids} <= {"X", "Z"}


def _state(pid) -> str:
    """X where there is no such process, Z where it has ended; a killed one is given some turns to end."""
    for _ in range(10_000):
        try:
            state = (Path("/proc") / str(pid) / "stat").read_text().split()[2]
        except (FileNotFoundError, ProcessLookupError):
            return "X"
        if state == "Z":
            break
        os.sched_yield()
    return state


@pytest.mark.skipif(not cpu.available(), reason="no C compiler")
def test_one_kernel_that_cannot_be_built_falls_back_and_is_said_once(monkeypatch) -> None:
    """The compiler works, and refuses one text: `auto` steps with torch's code, `cpu` says why it cannot."""
    load = build.load

    def refuse(text, *symbols):
        if "dotopt_run" in symbols:
            raise build.BuildError("refused: this text alone")
        return load(text, *symbols)

    monkeypatch.setattr(build, "load", refuse)
    monkeypatch.setattr(backends, "_kernels", {})
    p = torch.nn.Parameter(torch.ones(4))
    optimizer = stdlib.AdamW([p], lr=0.1)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            p.grad = torch.ones(4)
            optimizer.step()
    assert bool((p < 1).all()) and len([one for one in said if "this text alone" in str(one.message)]) == 1
    before = p.detach().clone()
    with pytest.raises(RuntimeError, match="backend='cpu' cannot step.*this text alone"):
        stdlib.AdamW([p], lr=0.1, backend="cpu").step()
    assert torch.equal(p, before)


@pytest.mark.skipif(not cpu.available(), reason="no C compiler")
class TestCache:
    def test_a_folder_that_cannot_be_written(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path / "file" / "below"))
        (tmp_path / "file").write_text("in the way")
        assert build.cache_folder() is None
        assert build.load(TEXT).dotopt_answer() == 42

    def test_a_folder_that_takes_no_files(self, monkeypatch, tmp_path) -> None:
        """As a full disk or one that is mounted read-only."""
        monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path))
        place = build.tempfile.mkstemp

        def refuse(*args, dir=None, **more):
            if str(dir) == str(tmp_path):
                raise OSError(28, "No space left on device")
            return place(*args, dir=dir, **more)

        monkeypatch.setattr(build.tempfile, "mkstemp", refuse)
        assert build.load(TEXT).dotopt_answer() == 42
        assert not list(tmp_path.glob("*.so"))

    def test_a_disk_that_fills_up_while_the_compiler_writes(self, monkeypatch, tmp_path) -> None:
        script, place = tmp_path / "cc", tmp_path / "cache"
        script.write_text(
            f"#!/bin/sh\ncase \"$*\" in *{place}*) echo 'No space left on device' >&2; exit 1;; esac\n"
            f'exec {build.compiler()} "$@"\n'
        )
        script.chmod(0o755)
        monkeypatch.setenv("CC", str(script))
        monkeypatch.setenv("DOTOPT_CACHE", str(place))
        assert build.load(TEXT).dotopt_answer() == 42
        assert not list(place.iterdir())

    def test_a_file_that_is_not_whole(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path))
        build.load(TEXT)
        (made,) = tmp_path.glob("*.so")
        made.unlink()
        made.write_bytes(b"\x7fELF")
        assert build.load(TEXT).dotopt_answer() == 42

    def test_a_file_that_lacks_the_function(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path / "one"))
        build.load(TEXT, "dotopt_answer")
        (made,) = (tmp_path / "one").glob("*.so")
        monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path / "other"))
        build.load("int dotopt_question(void) { return 6 * 9; }")
        (wrong,) = (tmp_path / "other").glob("*.so")
        wrong.rename(tmp_path / "other" / made.name)
        assert build.load(TEXT, "dotopt_answer").dotopt_answer() == 42

    def test_another_processor_or_compiler_has_files_of_its_own(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path))
        build.load(TEXT)
        monkeypatch.setattr(build, "processor", lambda: "another one")
        build.load(TEXT)
        assert len(list(tmp_path.glob("*.so"))) == 2

    def test_only_the_user_reads_it(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path / "new"))
        build.load(TEXT)
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700

    def test_processes_that_build_the_same_kernel_at_once(self, tmp_path) -> None:
        environment = os.environ | {"DOTOPT_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
        code = f"from dotopt.runtime.backends import build; assert build.load({TEXT!r}).dotopt_answer() == 42"
        jobs = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(4)]
        assert [job.wait() for job in jobs] == [0] * 4
        assert [path.suffix for path in tmp_path.iterdir()] == [".so"]

    def test_a_text_that_the_compiler_refuses(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path))
        with pytest.raises(build.BuildError, match="refused a kernel"):
            build.load("this is not C")
        assert not list(tmp_path.iterdir())


def adamw(*params, **more):
    return stdlib.AdamW(list(params), lr=0.1, backend="cpu", **more)


@pytest.mark.skipif(not cpu.available(), reason="no C compiler")
class TestTensors:
    def test_memory_that_moves_between_steps(self) -> None:
        p, q = (torch.nn.Parameter(torch.ones(4, 3)) for _ in range(2))
        one, two = adamw(p), stdlib.AdamW([q], lr=0.1, backend="torch")
        for step in range(4):
            if step == 2:
                p.data = p.data.clone()
            for x, optimizer in ((p, one), (q, two)):
                x.grad = torch.full((4, 3), 1.0 + step)
                optimizer.step()
        torch.testing.assert_close(p, q)

    def test_a_gradient_of_another_dtype(self) -> None:
        p, r = (torch.nn.Parameter(torch.ones(4)) for _ in range(2))
        if not hasattr(p, "grad_dtype"):
            pytest.skip("this torch has no gradients of another dtype")
        optimizer = adamw(p, r)
        p.grad_dtype = None
        p.grad, r.grad = torch.ones(4, dtype=torch.bfloat16), torch.ones(4)
        with pytest.raises(TypeError, match="convert it"):
            optimizer.step()
        assert torch.equal(p, torch.ones(4)) and torch.equal(r, torch.ones(4))

    @pytest.mark.parametrize("rule", ["AdamW", "LAMB"])
    def test_an_optimizer_that_is_gone_keeps_nothing(self, rule) -> None:
        params = [torch.nn.Parameter(torch.ones(size, 3)) for size in (4, 5)]
        optimizer = getattr(stdlib, rule)(params, lr=0.1, backend="cpu")
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step(), optimizer.step()
        seen = [weakref.ref(p) for p in params]
        del optimizer, params, p
        gc.collect()
        assert [one() for one in seen] == [None, None]

    def test_the_same_tensor_twice(self) -> None:
        p = torch.nn.Parameter(torch.ones(4))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises((ValueError, UserWarning), match="duplicate"):
                adamw(p, p)
        with pytest.raises(ValueError, match="more than one"):
            adamw({"params": [p]}, {"params": [p]})

    def test_tensors_that_share_memory(self) -> None:
        """They are stepped one after the other, in their order, as torch does."""
        results = []
        for backend in ("cpu", "torch"):
            found = []
            for cuts in ((slice(0, 10), slice(0, 10)), (slice(0, 6), slice(5, 10)), (slice(0, 5), slice(5, 10))):
                storage = torch.arange(10.0)
                params = [torch.nn.Parameter(storage[cut]) for cut in (*cuts, slice(0, 3))]
                optimizer = stdlib.AdamW(params, lr=0.1, weight_decay=0.3, backend=backend, foreach=backend == "cpu")
                for _ in range(3):
                    for p in params:
                        p.grad = torch.linspace(-1, 1, p.numel())
                    optimizer.step()
                found.append(storage)
            results.append(found)
        torch.testing.assert_close(*results)

    def test_a_kernel_that_cannot_be_built_moves_nothing(self, monkeypatch) -> None:
        """The second of two: a rule whose matrices need a kernel of their own."""
        vector, matrix = torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.ones(4, 4))
        for p in (vector, matrix):
            p.grad = torch.ones_like(p)
        backends._kernels.clear()
        made, load = [], build.load

        def refuse(text, *symbols):
            made.append(text)
            if len(made) > 1:
                raise build.BuildError("the compiler is gone")
            return load(text, *symbols)

        monkeypatch.setattr(build, "load", refuse)
        assert memory.library() is not None
        made.clear()
        optimizer = stdlib.Adafactor([vector, matrix], lr=0.1, backend="cpu")
        with pytest.raises(RuntimeError, match="is gone"):
            optimizer.step()
        backends._kernels.clear()
        assert len(made) == 2
        assert bool((vector == 1).all()) and bool((matrix == 1).all())

    def test_nothing_moves_if_one_bucket_is_wrong(self) -> None:
        good, bad = torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.ones(4))
        optimizer = adamw({"params": [good]}, {"params": [bad], "lr": 0.5})
        for p in (good, bad):
            p.grad = torch.ones(4)
        optimizer.step()
        kept = good.detach().clone()
        optimizer.param_groups[1]["betas"] = (1.5, 0.9)
        with pytest.raises(ValueError):
            optimizer.step()
        assert torch.equal(good, kept)
        assert float(optimizer.state[good]["step"]) == 1

    def test_a_gradient_that_is_not_finite_under_a_scaler(self) -> None:
        p = torch.nn.Parameter(torch.ones(4))
        optimizer = adamw(p)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        for value in (1.0, float("inf"), 2.0):
            before = p.detach().clone()
            optimizer.zero_grad()
            scaler.scale((p * value).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            assert torch.equal(p, before) == (value == float("inf"))
        assert float(optimizer.state[p]["step"]) == 2

    def test_resized_between_steps(self) -> None:
        """The state no longer fits; nobody reads or writes beyond the end of it."""
        p = torch.nn.Parameter(torch.ones(4))
        optimizer = adamw(p)
        p.grad = torch.ones(4)
        optimizer.step()
        p.data = torch.ones(100_000)
        p.grad = torch.ones(100_000)
        with pytest.raises((RuntimeError, ValueError)):
            optimizer.step()
        assert torch.equal(p, torch.ones(100_000))


def test_the_layout_that_python_and_c_share() -> None:
    fields = [name for name, _ in cpu_table.Work._fields_]
    from dotopt.compiler.emit.kernels.c.passes import STRUCT

    words = re.findall(r"\w+", re.sub(r"/\*.*?\*/", "", STRUCT))
    assert [word for word in words if word in fields] == fields
    assert ctypes.sizeof(cpu_table.Work) == 8 * len(fields)
    assert backends.NAMES[0] == "auto"
