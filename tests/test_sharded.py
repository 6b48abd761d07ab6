"""A step on parts of tensors is the step on the whole: processes with DTensors beside one process with plain tensors.

A few rules here; `make test-sharded` takes every optimizer and transform of the library on 2 and on 3 processes.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from dotopt import stdlib

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")

SHAPES = ((7, 5), (4, 6), (1, 3), (9, 2))  # odd, even, one row, and more rows than processes
MORE = ((5,), (3, 2, 2), ())  # for rules of any shape
STEPS = 4
EXACT = 1e-12
CLOSURES = {"Nesterov", "SAM", "Extragradient", "DAL", "DeltaGD", "SGDMemory"}  # and rules that see layers
TRANSFORMS = (
    "Cautious(AdamW)", "ClipValue(AdamW)", "Lookahead(LAMB)", "EMA(Muon)", "SWA(SGD)", "WarmUp(AdamP)",
    "DecoupledDecay(SGD)", "Centralised(SGD)", "Centralised(Muon)", "ClipNorm(AdamW)", "ClipNorm(LAMB)",
    "ClipNorm(Prodigy)", "Lookahead(SOAP)",
)  # fmt: skip
SOME = ("AdamW", "AdamP", "Adafactor", "SOAP", "ClipNorm(LAMB)")


def optimizers() -> tuple[str, ...]:
    """Every optimizer of the library that asks for nothing but gradients."""
    found = {name: getattr(stdlib, name) for name in stdlib.__all__}
    return tuple(
        name
        for name, cls in found.items()
        if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer) and hasattr(cls.rule, "steps")
        if not cls.rule.reasons and not cls.rule.layered
    )


def named(text: str) -> Any:
    """`ClipNorm(AdamW)` as a class."""
    return eval(text, {word: getattr(stdlib, word) for word in re.findall(r"\w+", text)})


def shapes_of(cls: Any) -> Sequence[tuple[int, ...]]:
    if cls.rule.pattern.axes == ("…",):
        return SHAPES + MORE
    fitting = SHAPES if cls.rule.pattern.misfit(2) is None else ((6,), (5,), (1,))
    return fitting


Place = Callable[[int, Tensor], Any]  # of a parameter by its number: placements, or None for a plain tensor


def by_rows(place: int, p: Tensor) -> Any:
    from torch.distributed.tensor import Replicate, Shard

    return [Shard(0) if p.ndim else Replicate()]


def by_columns(place: int, p: Tensor) -> Any:
    from torch.distributed.tensor import Replicate, Shard

    return [Shard(min(1, p.ndim - 1)) if p.ndim else Replicate()]


def mixed(place: int, p: Tensor) -> Any:
    from torch.distributed.tensor import Replicate

    return (by_rows, by_columns, lambda i, p: [Replicate()], lambda i, p: None)[place % 4](place, p)


PLACES: dict[str, Place] = {"rows": by_rows, "columns": by_columns, "mixed": mixed}


def whole(p: Any) -> Tensor:
    found: Tensor = p.detach().full_tensor() if hasattr(p, "full_tensor") else p.detach()
    return found


class Pair:
    """An optimizer of plain tensors, and one of the same tensors over a mesh; `step` gives both the same gradients."""

    def __init__(self, name: str, place: Place, mesh: Any, backend: str = "auto", shapes: Any = None) -> None:
        from torch.distributed.tensor import distribute_tensor

        cls = named(name)
        self.numbers = torch.Generator().manual_seed(0)
        self.mesh, self.distribute = mesh, distribute_tensor
        start = [self.random(shape) for shape in shapes or shapes_of(cls)]
        given = {"lr": 0.1} if any(hyper.keyword == "lr" for hyper in cls.rule.hypers) else {}
        self.plain = [p.clone().requires_grad_() for p in start]
        self.parts = [self.placed(p.clone(), place(i, p)) for i, p in enumerate(start)]
        self.places = [place(i, p) for i, p in enumerate(start)]
        self.one = cls(self.plain, backend="torch", **given)
        self.many = cls(self.parts, backend=backend, **given)

    def random(self, shape: Sequence[int]) -> Tensor:
        return torch.randn(tuple(shape), dtype=torch.float64, generator=self.numbers)

    def placed(self, value: Tensor, placements: Any) -> Any:
        if placements is None:
            return value.requires_grad_()
        return torch.nn.Parameter(self.distribute(value, self.mesh, placements))

    def gradients(self, missing: Sequence[int] = ()) -> None:
        for i, (p, q, place) in enumerate(zip(self.plain, self.parts, self.places, strict=True)):
            g = self.random(p.shape)
            p.grad = None if i in missing else g
            q.grad = None if i in missing else g.clone() if place is None else self.distribute(g, self.mesh, place)

    def step(self, missing: Sequence[int] = ()) -> None:
        self.gradients(missing)
        self.one.step()
        self.many.step()

    @property
    def apart(self) -> float:
        """How far they are from each other, relative to the entries."""
        return max(
            float((whole(q) - p.detach()).abs().max() / (1e-300 + p.detach().abs().max()))
            for p, q in zip(self.plain, self.parts, strict=True)
        )


# ---- what each process does; what it returns is gathered by the test ----


def compared(world: int, names: Sequence[str], backends: Sequence[str] = ("auto",)) -> dict[str, Any]:
    """The distance after some steps, for each rule, placement and backend; an error as text."""
    from torch.distributed.device_mesh import init_device_mesh

    mesh, found = init_device_mesh("cpu", (world,)), {}
    for name in names:
        for place, placements in PLACES.items():
            for backend in backends:
                try:
                    pair = Pair(name, placements, mesh, backend)
                except ValueError as error:
                    found[f"{name} by {place}"] = str(error)
                    continue
                for step in range(STEPS):
                    pair.step(missing=(1,) if step == 2 else ())
                found[f"{name} by {place}, {backend}"] = pair.apart
    return found


def work(number: int, world: int, port: int, queue: Any, job: Callable[..., Any], args: Any) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=number, world_size=world)
    try:
        queue.put(job(world, *args))
        dist.barrier()
    except BaseException as error:
        queue.put(error)
        raise
    finally:
        queue.close()
        queue.join_thread()
        os._exit(0)  # gloo's threads may wait for each other at the end


def on(world: int, job: Callable[..., Any], *args: Any) -> list[Any]:
    """What `job` returns in each of `world` processes."""
    context = mp.get_context("spawn")
    queue: Any = context.Queue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [context.Process(target=work, args=(i, world, port, queue, job, args)) for i in range(world)]
    for process in processes:
        process.start()
    found = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    for error in found:
        if isinstance(error, BaseException):
            raise error
    return found


def test_some_rules_on_two_processes() -> None:
    for found in on(2, compared, SOME):
        assert {name: apart for name, apart in found.items() if isinstance(apart, str) or apart > EXACT} == {}


REFUSED = {"DeltaMomentum"}  # a state along a merged axis that is cut, for tensors of three axes


@pytest.mark.thorough
@pytest.mark.parametrize("world", [2, 3])
def test_every_rule(world: int) -> None:
    for found in on(world, compared, (*optimizers(), *TRANSFORMS), ("auto", "torch")):
        refused = {name.split()[0] for name, apart in found.items() if isinstance(apart, str)}
        assert refused <= REFUSED
        assert {name: apart for name, apart in found.items() if not isinstance(apart, str) and apart > EXACT} == {}
