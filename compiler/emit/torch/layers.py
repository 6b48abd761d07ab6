"""What a step reads of the linear layer whose weight the parameter is: its inputs, its outputs, the gradients there.

    input_of(W)        `input`        what went into the layer, a row for each sample
    output_of(W)       `output`       what came out
    ∇f(output_of(W))   `gradient`     what `backward` brought to the outputs
"""

from __future__ import annotations

from dotopt.compiler.ir import Node, Program
from dotopt.compiler.ir.program import at_its_places

INPUT, OUTPUT = "input_of(", "output_of("


def of_layer(here: Node) -> str:
    """The word for `here` if the runtime reads it off a layer; else empty."""
    if here.role == "input" and here.name.startswith((INPUT, OUTPUT)):
        return "input" if here.name.startswith(INPUT) else "output"
    if here.op == "oracle" and here.attrs.what == "gradient" and len(here.args) == 1:
        return "gradient" if here.args[0].name.startswith(OUTPUT) else ""
    return ""


@at_its_places
def layer_values(program: Program) -> dict[Node, str]:
    """All such values that the program reads, with their words."""
    found: dict[Node, str] = {}
    seen: set[Node] = set()
    stack = list(program.roots)
    while stack:
        here = stack.pop()
        if here in seen:
            continue
        seen.add(here)
        if word := of_layer(here):
            found[here] = word  # an output at which a gradient is taken is not read itself
        else:
            stack.extend(here.children)
    return found
