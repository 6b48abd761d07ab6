"""What a step reads of the linear layer whose weight the parameter is, and the types of it.

    param W : real[n, p]         the weight, for outputs of n entries from inputs of p
    input_of(W)                  real[samples, p]: what went in, a row for each sample
    output_of(W)                 real[samples, n]: what came out
    ∇f(output_of(W))             real[samples, n]: the rows that `backward` brought, so that `W.grad` is dᵀ @ x

All leading axes of a batch (sequence, heads) are rows, and rows add up: nothing is divided by their number. With a loss
that is a mean over N samples each row of the gradient carries the factor 1/N, as `W.grad` does.
"""

from __future__ import annotations

from dotopt.compiler import ir
from dotopt.compiler.ir import Node
from dotopt.compiler.lower.context import Context
from dotopt.compiler.ops.types import REST, Type
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import fail

SAMPLES = "samples"  # the axis of the rows, unless the file names it
READS = ("input_of", "output_of")


def read_of_layer(context: Context, word: str, weight: Node, expected: Type | None, call: s.Call) -> Node:
    """The leaf of `input_of(W)` or `output_of(W)`; raises E316 if W is no parameter `real[n, p]`."""
    axes = weight.type.axes
    if weight.role != "param" or len(axes) != 2 or REST in axes:
        found = f"`{weight.name or call.arguments[0].span.text}`"
        raise fail("E316", call.arguments[0].span, found=found, expected="the weight of a linear layer, a parameter "
                   "`real[n, p]`,")  # fmt: skip
    type = Type("real", (_samples(context, axes), axes[1] if word == "input_of" else axes[0]))
    if expected is not None and len(expected.axes) == 2 and expected.axes[0] not in axes:
        type = Type("real", (expected.axes[0], type.axes[1]))
    return ir.leaf("input", f"{word}({weight.name})", type)


def _samples(context: Context, taken: tuple[str, ...]) -> str:
    """The name that the file gives to the axis of the rows, where it writes the type of what it reads."""
    for statement in context.file.statements:
        if isinstance(statement, s.Definition) and isinstance(statement.type, s.Array):
            called = (node.function for node in statement.value.walk() if isinstance(node, s.Call))
            names = tuple(axis.name for axis in statement.type.axes)
            reads = any(isinstance(function, s.Name) and function.name in READS for function in called)
            if reads and len(names) == 2 and names[0] not in taken:
                return names[0]
    return SAMPLES if SAMPLES not in taken else f"{SAMPLES}_of_the_layer"
