"""Protocols spread over processes equal those in one process."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from dotopt import stdlib

TOTAL = 5


def losses() -> dict[int, Any]:
    return {i: lambda x, i=i: ((x - i) ** 2 * torch.arange(1.0, 4.0, dtype=x.dtype)).sum() for i in range(1, TOTAL + 1)}


def operators() -> dict[int, Any]:
    turn = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.5]], dtype=torch.float64)
    return {i: lambda z, i=i: turn @ z + 0.1 * i for i in range(1, TOTAL + 1)}


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "Scaffold": (losses, {"lr": 0.7, "local_lr": 0.02, "K": 3, "sampled": 2, "seed": 3}),
    "ScaffoldMVR": (losses, {"lr": 0.7, "local_lr": 0.02, "K": 3, "sampled": 2, "beta": 0.3, "seed": 5}),
    "MASHA2": (operators, {"lr": 0.05, "tau": 0.6, "k": 1, "seed": 2}),
}


def start() -> torch.Tensor:
    return torch.zeros(3, dtype=torch.float64)


def failing() -> dict[int, Any]:
    """Party 3 sends NaN in rounds 2 and 5."""
    return {
        i: lambda x, r, i=i, f=f: f(x) * (torch.nan if i == 3 and r in (2, 5) else 1.0) for i, f in losses().items()
    }


FAULTS: dict[str, Any] = {"lr": 0.7, "local_lr": 0.02, "K": 3, "sampled": 4, "batches": lambda i, r, k: r}


def rank(number: int, world: int, port: int, queue: Any, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=number, world_size=world)
    for name, (functions, given) in CASES.items():
        mine = {i: f for i, f in functions().items() if i % world == number}
        run = getattr(stdlib, name).distributed(start(), mine, TOTAL, **given, checkpoint=f"{folder}/{name}").run(12)
        own = {i: {k: v.tolist() for k, v in own.items()} for i, own in run.own.items()}
        queue.put((name, run.x.tolist(), own, [(r.up, r.down) for r in run.history]))
    mine = {i: f for i, f in failing().items() if i % world == number}
    run = stdlib.Scaffold.distributed(start(), mine, TOTAL, faults="leave_out", **FAULTS).run(6)
    queue.put(("left out", run.x.tolist(), [sorted(r.absent) for r in run.history], None))
    run = stdlib.Scaffold.distributed(start(), mine, TOTAL, **FAULTS)
    try:
        run.run(6)
    except ValueError as error:
        queue.put(("raised", str(error), run.number, None))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")
def test_ranks_equal_one_process(tmp_path: Path) -> None:
    world, port, context = 2, free_port(), mp.get_context("spawn")
    queue = context.SimpleQueue()
    processes = [context.Process(target=rank, args=(k, world, port, queue, str(tmp_path))) for k in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * world
    whole = {
        name: getattr(stdlib, name).simulate(start(), list(functions().values()), **given).run(12)
        for name, (functions, given) in CASES.items()
    }
    left_out = stdlib.Scaffold.simulate(start(), list(failing().values()), faults="leave_out", **FAULTS).run(6)
    raised = []
    for _ in range(world * (len(CASES) + 2)):
        name, x, own, sent = queue.get()
        if name == "raised":
            raised.append((x, own))
        elif name == "left out":
            close(x, left_out.x)
            assert own == [sorted(r.absent) for r in left_out.history] and any(own)
        else:
            close(x, whole[name].x)
            assert sent == [(r.up, r.down) for r in whole[name].history]  # the bytes of all ranks together
            for i, states in own.items():
                for key, value in states.items():
                    close(value, whole[name].own[i][key])
    number = next(r.number for r in left_out.history if r.absent) - 1
    assert {said.split(" sent")[0] for said, _ in raised} == {
        "party 3",
        "a party of another process failed; that process says why",
    } and {reached for _, reached in raised} == {number}
    resumed(tmp_path, whole["Scaffold"])


def resumed(folder: Path, whole: Any) -> None:
    """The run of two ranks goes on in a single one."""
    functions, given = CASES["Scaffold"]
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{free_port()}", rank=0, world_size=1)
    try:
        run = stdlib.Scaffold.distributed(start(), functions(), TOTAL, **given, checkpoint=folder / "Scaffold")
        assert run.number == 12
        close(run.run(3).x.tolist(), whole.run(3).x)
    finally:
        dist.destroy_process_group()


def close(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), wanted, rtol=1e-12, atol=1e-12)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
