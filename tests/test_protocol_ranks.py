"""Protocols spread over processes equal those in one process."""

from __future__ import annotations

import socket
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


def rank(number: int, world: int, port: int, queue: Any) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=number, world_size=world)
    for name, (functions, given) in CASES.items():
        mine = {i: f for i, f in functions().items() if i % world == number}
        run = getattr(stdlib, name).distributed(torch.zeros(3, dtype=torch.float64), mine, TOTAL, **given).run(12)
        queue.put((name, run.x.tolist(), {i: {k: v.tolist() for k, v in own.items()} for i, own in run.own.items()}))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")
def test_ranks_equal_one_process() -> None:
    world, port, context = 2, free_port(), mp.get_context("spawn")
    queue = context.SimpleQueue()
    processes = [context.Process(target=rank, args=(k, world, port, queue)) for k in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * world
    whole = {
        name: getattr(stdlib, name)
        .simulate(torch.zeros(3, dtype=torch.float64), list(functions().values()), **given)
        .run(12)
        for name, (functions, given) in CASES.items()
    }
    for _ in range(world * len(CASES)):
        name, x, own = queue.get()
        close(x, whole[name].x)
        for i, states in own.items():
            for key, value in states.items():
                close(value, whole[name].own[i][key])


def close(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), wanted, rtol=1e-12, atol=1e-12)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
