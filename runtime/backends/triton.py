"""The Triton backend: a step is one launch a pass, however many tensors there are.

    filled      the device tables of the buckets of a step, with its gradients and numbers in them
    run         the passes of several programs, stage by stage, so that sums over the model see all of it

The numbers of a step are worked out on the host in double precision and go over in one small copy. Where one of them
lives on the device (a learning rate that is a tensor, the loss scale, a number that follows from sums over the model),
and for groups that say `capturable`, they are worked out there, and a step never waits for the device: so it can be
captured in a CUDA graph, which sees what a schedule writes into such a tensor.

With TRITON_INTERPRET=1 in the environment the kernels run on CPU tensors, for tests.
"""

from __future__ import annotations

import hashlib
import linecache
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from dotopt.compiler.emit.kernels.triton.passes import Module, emit
from dotopt.compiler.ir import TIME, Node, Program
from dotopt.compiler.schedule.passes import Schedule
from dotopt.compiler.schedule.places import order
from dotopt.compiler.schedule.variants import FIRST_STEP, conditions, outcomes
from dotopt.runtime import routines
from dotopt.runtime.backends import bucket as fit
from dotopt.runtime.backends.bucket import Bucket, stored
from dotopt.runtime.backends.host_numbers import numbers
from dotopt.runtime.backends.layout import Changed
from dotopt.runtime.backends.planned import planned
from dotopt.runtime.backends.triton_table import Table, capturing
from dotopt.runtime.optimizer.union import merged
from dotopt.runtime.oracles import Objective


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def available() -> bool:
    """Whether there is a device that Triton compiles for, or its interpreter is on."""
    return interpreted() or torch.cuda.is_available()


def refusal(bucket: Bucket) -> str | None:
    """Why the tensors of the bucket cannot be stepped here; None if they can."""
    return fit.refusal(bucket, "cpu" if interpreted() else "cuda")


Numbers = Callable[[Bucket], tuple[float, ...]]
Planned = tuple[Schedule, Module, Numbers, Numbers | None]


@dataclass(frozen=True)
class Compiled:
    """One variant of a program for one choice of dtypes: its kernels, and what computes its numbers on the host.

    `host` gives the slots that are known before the step, `shared` the next values of the numbers of the group; None
    where these follow from sums over the model.
    """

    schedule: Schedule
    module: Module
    kernels: ModuleType
    host: Numbers
    shared: Numbers | None


class Kernel:
    """A program on this backend. Raises `Unsupported` if it has no form in Triton."""

    on_device = True  # kernels read the loss scale, and whether to skip the step, where these lie

    def __init__(self, program: Program) -> None:
        self.program = program
        self.conditions = conditions(program)
        self.decide = numbers(self.conditions, program)
        timed = [c for c in self.conditions if any(here is TIME or here.op == "fires" for here in order([c]))]
        self.timed, self.periodic = bool(timed), any(condition is not FIRST_STEP for condition in timed)
        self._compiled: dict[tuple[object, ...], Compiled] = {}
        modules = [self._planned(truth)[1] for truth in outcomes(self.conditions)]  # what one lacks is known by now
        self.takes_blocks = not modules[0].by_rows

    def module(self, truth: Mapping[Node, bool], stored: Mapping[str, str] | None = None) -> tuple[Schedule, Module]:
        """The schedule and the text of the variant in which the conditions are `truth`; `stored` as for `emit`."""
        plan, arrays = planned(self.program, truth, stored or {})
        return plan, emit(plan, arrays, f"{self.program.name}, by dotopt")

    def compiled(self, truth: tuple[bool, ...], stored: tuple[tuple[str, str], ...]) -> Compiled:
        """The variant, with its kernels ready to be launched."""
        key = (truth, stored)
        if key not in self._compiled:
            plan, module, host, shared = self._planned(dict(zip(self.conditions, truth, strict=True)), dict(stored))
            self._compiled[key] = Compiled(plan, module, executed(module.text), host, shared)
        return self._compiled[key]

    def _planned(self, truth: Mapping[Node, bool], stored: Mapping[str, str] | None = None) -> Planned:
        """All of a variant but its kernels."""
        plan, module = self.module(truth, stored)
        early = [here for here in module.host if here not in module.late]
        nexts = [state.next for state in plan.program.states if state.shared and state.next is not None]
        known = all(plan.places.stage(following) == 0 for following in nexts)
        return plan, module, numbers(early, plan.program), numbers(nexts, plan.program) if known else None

    def prepare(self, bucket: Bucket) -> None:
        """Make the kernels that the next step of the bucket needs; raises `Unsupported` if there are none."""
        param = self.program.params[0].name
        columns = {param: bucket.params, **bucket.states, **bucket.beside}
        self.compiled(self._truth(bucket), stored(columns, bucket))

    def filled(self, buckets: Sequence[Bucket], again: bool = False) -> list[Table]:
        """The tables of a step with the gradients and numbers in them; raises if one does not fit, before any runs.

        With `again` a tensor that lies elsewhere by now raises `Changed`.
        """
        tables = [self._table(bucket, again) for bucket in self.merged(buckets)]
        for table in tables:
            table.take_gradients()
        for table in tables:
            table.take_numbers()
        return tables

    @staticmethod
    def run(tables: Sequence[Table], objective: Objective | None = None) -> None:
        """Launch the passes of the tables of one step; sums over the model go over all of them, on the device.

        `objective` answers where a rule asks for gradients on its way.
        """
        entries = sum(table.entries for table in tables)
        for table in tables:
            table.begin(entries)
        for stage in range(max(table.module.stages for table in tables)):
            running = [table for table in tables if stage < table.module.stages]
            for table in running:
                table.launch(stage)
            routines.ask(running, stage, objective)
            for table in running:
                table.between(stage)
            _share([table for table in running if table.module.model[stage]], stage)
        for table in tables:
            table.end()

    def merged(self, buckets: Sequence[Bucket]) -> Sequence[Any]:
        """Fewer buckets: tensors of all shapes are stepped in one launch, but where they make numbers of the group."""
        shares = any(state.shared for state in self.program.states)
        return buckets if len(buckets) == 1 or shares else merged(buckets)

    def _table(self, bucket: Bucket, again: bool) -> Table:
        if bucket.cache is None:
            bucket.cache = {}
        truth = self._truth(bucket)
        table: Table | None = bucket.cache.get(truth)
        if table is None or table.stale():
            if again:
                raise Changed
            if capturing():
                raise RuntimeError("a parameter was moved: take a step outside of the graph before capturing one")
            param = self.program.params[0].name
            columns = {param: bucket.params, **bucket.states, **bucket.beside}
            compiled = self.compiled(truth, stored(columns, bucket))
            table = bucket.cache[truth] = Table(self.program, compiled, bucket)
        table.bucket = bucket  # a union of buckets is a new one in each step, with the numbers of that step
        return table

    def _truth(self, bucket: Bucket) -> tuple[bool, ...]:
        """Which conditions hold in this step; where they depend on t and t lives on the device, it is read there."""
        if bucket.group.get("capturable") and self.timed:
            if not capturing():
                bucket.t = int(bucket.clocks[0]) + 1
            elif self.periodic or bucket.t == 1:
                what = "does other things in other steps" if self.periodic else "has its first step before it"
                raise RuntimeError(f"{self.program.name} {what}, which a captured graph cannot")
        return tuple(map(bool, self.decide(bucket)))


def _share(tables: Sequence[Table], stage: int) -> None:
    """Add up the sums over the model that each table made; the k-th sum of one is the k-th of all."""
    if len(tables) < 2:
        return
    for places in zip(*(table.model_places(stage) for table in tables), strict=True):
        parts = [table.given[k] for table, k in zip(tables, places, strict=True)]
        whole = torch.stack([part.to(parts[0].device) for part in parts]).sum()
        for part in parts:
            part.copy_(whole)


def executed(text: str) -> ModuleType:
    """The module of this text; Triton reads the source of its kernels again, so the text is kept where it looks."""
    name = f"<dotopt {hashlib.sha256(text.encode()).hexdigest()[:16]}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    module = ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
    return module
