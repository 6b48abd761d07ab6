"""Numbers of a group that are known before a step: functions of its hyperparameters, the step count, shared states."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from dotopt.compiler.emit.torch.scalars import Scalars
from dotopt.compiler.ir import TIME, Node, Program
from dotopt.compiler.schedule.places import REDUCE, Unsupported, order
from dotopt.runtime import scalars
from dotopt.runtime.backends.bucket import Bucket


def numbers(nodes: Sequence[Node], program: Program) -> Callable[[Bucket], tuple[float, ...]]:
    """What computes `nodes` for a bucket. Raises `Unsupported` if one of them is known only during the step."""
    names = {TIME: "bucket.t"}  # `every C` reads it without an argument
    for here in order(nodes):
        if here.op == "leaf" and not here.args:
            word = {
                "hyper": f"bucket.hypers[{here.name!r}]",
                "state": f"bucket.shared[{here.name!r}]",
                "time": "bucket.t",
            }
            names[here] = word.get(here.role, here.name)
        if here.op in REDUCE or here.op in ("size", "native"):
            raise Unsupported(f"{here!r} is not known before the step")
    writer = Scalars(names, {hyper.name: hyper for hyper in program.hypers}, lambda here: None)
    text = "".join(f"({writer.text(here)}), " for here in nodes)
    made: Callable[[Bucket], tuple[float, ...]] = eval(f"lambda bucket: ({text})", {"scalars": scalars, "math": math})
    return made
