"""A step on parts of tensors is the step on the whole: processes with DTensors beside one process with plain tensors.

A few rules here; `make test-sharded` takes every optimizer and transform of the library on 2 and on 3 processes.
"""

from __future__ import annotations

import os
import random
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
    found = {name: getattr(stdlib, name) for name in dir(stdlib)}
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
        return tuple(shape for shape in SHAPES + MORE if cls.rule.pattern.misfit(len(shape)) is None)
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


def at_once(world: int) -> tuple[Any, Any, Any]:
    """What `make test` looks at, in one start of the processes."""
    return compared(world, SOME), counted(world, COUNTED), refusals(world)


@pytest.fixture(scope="module")
def two() -> list[tuple[Any, Any, Any]]:
    return on(2, at_once)


def test_some_rules_on_two_processes(two: Any) -> None:
    for found, _, _ in two:
        assert {name: apart for name, apart in found.items() if isinstance(apart, str) or apart > EXACT} == {}


REFUSED = {"DeltaMomentum"}  # a state along a merged axis that is cut, for tensors of three axes


@pytest.mark.thorough
@pytest.mark.parametrize("world", [2, 3])
def test_every_rule(world: int) -> None:
    for found in on(world, compared, (*optimizers(), *TRANSFORMS), ("auto", "torch")):
        refused = {name.split()[0]: apart for name, apart in found.items() if isinstance(apart, str)}
        assert set(refused) <= REFUSED and all("where no even part of it begins" in why for why in refused.values())
        assert {name: apart for name, apart in found.items() if not isinstance(apart, str) and apart > EXACT} == {}


# ---- models as torch shards them ----


def model(seed: int = 0) -> torch.nn.Module:
    """Parts are uneven on 3 processes, and some are empty: a weight has one row. Tensor parallelism cuts the 8."""
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(5, 8), torch.nn.Linear(8, 1), torch.nn.Linear(1, 4)]
    return torch.nn.Sequential(*layers).double()


def backward(net: torch.nn.Module, step: int) -> None:
    """The gradients of a batch that is the same in every process."""
    net.zero_grad()
    inputs = torch.randn(6, 5, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
    (net(inputs) ** 2).mean().backward()


def sharded_by(way: str, world: int) -> torch.nn.Module:
    """The model under FSDP2, tensor parallelism, or both; replicas of shards; DistributedDataParallel."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    net = model()
    plan = {"0": ColwiseParallel(), "1": RowwiseParallel()}
    if way == "DDP":
        return torch.nn.parallel.DistributedDataParallel(net)
    if way == "TP":
        return parallelize_module(net, init_device_mesh("cpu", (world,)), plan)
    if way == "FSDP2":
        for layer in net:
            fully_shard(layer, mesh=init_device_mesh("cpu", (world,)))
        return fully_shard(net, mesh=init_device_mesh("cpu", (world,)))
    both = init_device_mesh("cpu", (2, world // 2), mesh_dim_names=("a", "b"))
    if way == "HSDP":
        return fully_shard(net, mesh=both)
    parallelize_module(net, both["b"], plan)
    return fully_shard(net, mesh=both["a"])


def trained(world: int, way: str, names: Sequence[str]) -> dict[str, float]:
    found = {}
    for name in names:
        cls = named(name)
        plain, spread = model(), sharded_by(way, world)
        matrices = cls.rule.pattern.axes != ("…",) and cls.rule.pattern.misfit(1) is not None
        one = cls([p for p in plain.parameters() if p.ndim > 1 or not matrices], backend="torch")
        many = cls([p for p in spread.parameters() if p.ndim > 1 or not matrices])
        for step in range(STEPS):
            backward(plain, step)
            backward(spread, step)
            one.step()
            many.step()
        pairs = zip(plain.parameters(), spread.parameters(), strict=True)
        found[f"{name} under {way}"] = max(float((whole(q) - p.detach()).abs().max()) for p, q in pairs)
    return found


# without SOAP: FSDP2 averages gradients, and eigenvectors of singular statistics do not forgive rounding
STABLE = ("AdamW", "ClipNorm(LAMB)", "Adafactor", "Muon", "Shampoo")


@pytest.mark.thorough
@pytest.mark.parametrize(("way", "world"), [("DDP", 2), ("FSDP2", 3), ("TP", 2), ("HSDP", 4), ("FSDP2 and TP", 4)])
def test_models(way: str, world: int) -> None:
    for found in on(world, trained, way, STABLE):
        assert {name: apart for name, apart in found.items() if not apart <= EXACT} == {}


# ---- checkpoints ----


def saved(world: int, folder: str, names: Sequence[str]) -> None:
    for name in names:
        net, optimizer = beginning(name, world)
        for step in range(2):
            backward(net, step)
            optimizer.step()
        checkpointed(net, optimizer, f"{folder}/{name}", load=False)


def resumed(world: int, folder: str, names: Sequence[str]) -> dict[str, float]:
    found = {}
    for name in names:
        net, optimizer = beginning(name, world)
        checkpointed(net, optimizer, f"{folder}/{name}", load=True)
        plain, one = beginning(name, 1)
        for step in range(4):
            backward(plain, step)
            one.step()
            if step >= 2:
                backward(net, step)
                optimizer.step()
        pairs = zip(plain.parameters(), net.parameters(), strict=True)
        found[f"{name} on {world}"] = max(float((whole(q) - p.detach()).abs().max()) for p, q in pairs)
    return found


def beginning(name: str, world: int) -> tuple[torch.nn.Module, Any]:
    cls = named(name)
    net = model() if world == 1 else sharded_by("FSDP2", world)
    matrices = cls.rule.pattern.axes != ("…",) and cls.rule.pattern.misfit(1) is not None
    for p in net.parameters():
        p.requires_grad_(p.ndim > 1 or not matrices)
    return net, cls([p for p in net.parameters() if p.requires_grad])


def checkpointed(net: torch.nn.Module, optimizer: Any, folder: str, load: bool) -> None:
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    parameters, states = get_state_dict(net, optimizer)
    if not load:
        checkpoint.save({"model": parameters, "optimizer": states}, checkpoint_id=folder)
        return
    checkpoint.load({"model": parameters, "optimizer": states}, checkpoint_id=folder)
    set_state_dict(net, optimizer, model_state_dict=parameters, optim_state_dict=states)


@pytest.mark.thorough
def test_a_checkpoint_goes_on_with_more_processes_and_with_one(tmp_path: Any) -> None:
    names = (*STABLE, "Prodigy")
    on(2, saved, str(tmp_path), names)
    for world in (3, 1):
        for found in on(world, resumed, str(tmp_path), names):
            assert {name: apart for name, apart in found.items() if not apart <= EXACT} == {}


# ---- messages ----


COUNTED = ("AdamW", "AdamP", "Adafactor", "SOAP", "Muon", "AMSGD")


def counted(world: int, names: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    """The calls of `torch.distributed` in the second step, and the numbers that go into them."""
    from torch.distributed.device_mesh import init_device_mesh

    mesh, found = init_device_mesh("cpu", (world,)), {}
    reduce, exchange = dist.all_reduce, dist.all_to_all_single
    calls: list[tuple[str, int]] = []

    def all_reduce(tensor: Tensor, *rest: Any, **more: Any) -> Any:
        calls.append(("all-reduce", tensor.numel()))
        return reduce(tensor, *rest, **more)

    def all_to_all_single(coming: Tensor, going: Tensor, *rest: Any, **more: Any) -> Any:
        calls.append(("all-to-all", going.numel()))
        return exchange(coming, going, *rest, **more)

    for name in names:
        pair = Pair(name, by_rows, mesh, shapes=[(7, 5)])
        pair.step()
        pair.gradients()
        dist.all_reduce, dist.all_to_all_single = all_reduce, all_to_all_single
        pair.many.step()
        dist.all_reduce, dist.all_to_all_single = reduce, exchange
        found[name] = list(calls)
        calls.clear()
    return found


def test_messages_are_those_that_explain_prints(two: Any) -> None:
    from dotopt.compiler.text.library import Library
    from dotopt.runtime.report.explain import explain
    from dotopt.runtime.report.sharding import sharding

    (_, first, _), (_, second, _) = two
    for name in COUNTED:
        said = sharding(explain(Library().find(name)).program, (7, 5), 0, 2).messages
        assert [call for call, _ in first[name]] == [message.call for message in said]
        for (call, one), (_, other), message in zip(first[name], second[name], said, strict=True):
            assert message.numbers == (one if call == "all-reduce" else one + other), (name, message)


# ---- random rules, shapes, placements and gradients: a hunt for exceptions ----


def hunted(world: int, seed: int, tries: int) -> list[str]:
    """Cases that differ from one process; what is drawn is the same in every process."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard

    draw, mesh, wrong = random.Random(seed), init_device_mesh("cpu", (world,)), []
    for _ in range(tries):
        name = draw.choice((*optimizers(), *TRANSFORMS))
        ranks = [rank for rank in range(4) if named(name).rule.pattern.misfit(rank) is None]
        shapes = [tuple(draw.randint(1, 7) for _ in range(draw.choice(ranks))) for _ in range(draw.randint(1, 4))]
        words = [draw.choice(["plain", "whole", 0, 1, 2]) for _ in shapes]

        def place(i: int, p: Tensor, words: Any = words) -> Any:
            if words[i] == "plain":
                return None
            return [Replicate() if words[i] == "whole" or not p.ndim else Shard(min(words[i], p.ndim - 1))]

        case = f"{name} {shapes} {words} of seed {seed}"
        missing = [[i for i in range(len(shapes)) if draw.random() < 0.2] for _ in range(3)]
        try:
            pair = Pair(name, place, mesh, shapes=shapes)
        except ValueError as error:
            if "cannot move parts of tensors" not in str(error):
                wrong.append(f"{case}: {error}")
            continue
        for some in missing:
            pair.step(some)
        if not pair.apart <= 1e-9 and not finite_nowhere(pair):
            wrong.append(f"{case}: {pair.apart:.3g} apart")
    return wrong


def finite_nowhere(pair: Pair) -> bool:
    """Whether one process gets NaN, and several get it in just the same places and are close elsewhere."""
    found = False
    for p, q in zip(pair.plain, pair.parts, strict=True):
        mine, theirs = p.detach(), whole(q)
        found |= bool(mine.isnan().any())
        if not torch.equal(mine.isnan(), theirs.isnan()):
            return False
        if not torch.allclose(mine.nan_to_num(), theirs.nan_to_num(), rtol=1e-9, atol=1e-9):
            return False
    return found


@pytest.mark.thorough
@pytest.mark.parametrize(("world", "seed"), [(2, 1), (3, 2), (4, 3)])
def test_random_cases(world: int, seed: int) -> None:
    assert on(world, hunted, seed, 60) == [[]] * world


# ---- faults ----


def refusals(world: int) -> dict[str, str]:
    """What is raised, in words, and that nothing has moved."""
    from torch.distributed.device_mesh import init_device_mesh

    mesh, found = init_device_mesh("cpu", (world,)), {}
    pair = Pair("LAMB", by_rows, mesh)
    pair.step()
    pair.gradients()
    if dist.get_rank() == 1:
        pair.parts[2].grad = None
    before = [whole(p).clone() for p in pair.parts]
    try:
        pair.many.step()
    except RuntimeError as error:
        found["missing"] = str(error)
    found["moved"] = str(any(not torch.equal(whole(p), q) for p, q in zip(pair.parts, before, strict=True)))
    pair.gradients()
    pair.many.found_inf = torch.tensor(float(dist.get_rank() == 1))
    pair.many.step()
    found["stepped"] = str(any(not torch.equal(whole(p), q) for p, q in zip(pair.parts, before, strict=True)))
    return found


def test_what_one_process_lacks_stops_all_of_them(two: Any) -> None:
    for _, _, found in two:
        assert "a gradient in some processes" in found["missing"]
        assert found["moved"] == found["stepped"] == "False"
