"""A failing example as a Python snippet that runs on its own and prints both sides."""

from __future__ import annotations

from typing import Any

from dotopt.runtime.property.example import Array, Example, answered, asks_elsewhere, curved, programs, together
from dotopt.runtime.property.layered import layered


def class_line(cls: type[Any]) -> str:
    """How a snippet gets at the class."""
    origin = cls.origin
    name = cls.rule.name
    if origin is None:
        return f"# {name} is the class under test"
    kind, place, called = origin
    match kind:
        case "library":
            return f"from dotopt.stdlib import {called} as Rule"
        case "file":
            return f"import dotopt\nRule = dotopt.load({place!r}).{called}"
        case _:
            return f"from dotopt.runtime.loading.load import named\nRule = named(*{origin!r})"


def reproducer(cls: type[Any], example: Example, backend: str, steps: int) -> str:
    """The snippet; it prints the parameters of the backend and of the reference after each step."""
    options = "".join(f", {name}={value!r}" for name, value in example.options.items())
    values = tuple(example.options[option.keyword] for option in cls.rule.options)
    step = programs(cls, example, [example.starts[0].ndim])[0]
    lines = [
        "import numpy as np",
        "import torch",
        "from dotopt.compiler.evaluate import Simulation",
        "from dotopt.runtime.loading.load import program",
        class_line(cls),
        "",
        "nan, inf = float('nan'), float('inf')",
        f"starts = [{', '.join(map(literal, example.starts))}]",
        f"gradients = [{', '.join(_row(row) for row in example.gradients[:steps])}]",
        f"groups = {[dict(group) for group in example.groups]}",
        f"members = {list(example.members)}  # the group of each tensor",
        f"params = [torch.nn.Parameter(torch.tensor(x, dtype=torch.{example.dtype})) for x in starts]",
        "named = [(str(k), p) for k, p in enumerate(params)]  # draws depend on names",
        "optimizer = Rule(",
        "    [{'params': [p for p, m in zip(named, members) if m == i], **g} for i, g in enumerate(groups)],",
        f"    foreach={example.foreach}, maximize={example.maximize}, backend={backend!r}{options},",
        ")",
        f"rule = lambda rank: program(Rule.origin, {values!r}, max(rank, 1))",
    ]
    if layered(step):
        lines += [
            "from dotopt.runtime.property.layered import Hooked, seen",
            "hooked = Hooked(optimizer, params)  # a linear layer for each weight",
            "judges = [Simulation(rule, {k: x}, groups[members[k]]) for k, x in enumerate(starts)]",
        ]
    elif together(step):  # the groups have equal hyperparameters then
        lines.append("judges = [Simulation(rule, dict(enumerate(starts)), groups[0])]")
    else:
        lines += [
            "of = lambda i: {k: x for k, x in enumerate(starts) if members[k] == i}",
            "judges = [Simulation(rule, of(i), g) for i, g in enumerate(groups)]",
        ]
    if example.small:
        lines.append("from dotopt.runtime.property.pieces import small_pieces")
        lines.append("small_pieces().__enter__()  # tensors are cut as large ones are")
    lines.append("for row in gradients:")
    if layered(step):
        lines += _layers(example)
    elif asks_elsewhere(step):
        lines += _closure(example, answered(step)[1], curved(step))
    else:
        lines += _plain(example)
    return "\n".join(lines)


def _plain(example: Example) -> list[str]:
    sign = "-" if example.maximize else ""
    return [
        "    for p, g in zip(params, row):",
        f"        p.grad = None if g is None else torch.tensor(g, dtype=torch.{example.dtype})",
        "    optimizer.step()",
        "    for judge in judges:",
        "        moved = [k for k in judge.params if row[k] is not None and row[k].size]",
        f"        judge.step({{k: {sign}row[k] if k in moved else None for k in judge.params}})",
        "    print('backend  ', [p.tolist() for p in params])",
        "    print('reference', [x.tolist() for judge in judges for x in judge.params.values()])",
    ]


def _layers(example: Example) -> list[str]:
    sign = -1.0 if example.maximize else 1.0
    return [
        "    hooked.backward(row)",
        "    optimizer.step()",
        "    for k, judge in enumerate(judges):",
        "        if row[k] is not None and row[k].size:",
        f"            judge.step(**seen(judge.programs[0], judge.values[0], row[k], {sign}, k))",
        "    print('backend  ', [p.tolist() for p in params])",
        "    print('reference', [x.tolist() for judge in judges for x in judge.params.values()])",
    ]


def _closure(example: Example, name: str, curved: bool) -> list[str]:
    sign = "-" if example.maximize else ""
    return [
        "    def closure():",
        "        optimizer.zero_grad()",
        "        shifts = [torch.tensor(a, dtype=p.dtype) for p, a in zip(params, row)]",
        "        loss = sum((p*p/2 + a*p - torch.cos(p)).sum() for p, a in zip(params, shifts))",
        *(["        loss.backward()"] if not curved else []),
        "        return loss",
        "    optimizer.step(closure)",
        f"    f = lambda points: {sign}sum(float(np.sum(x*x/2 + row[k]*x - np.cos(x))) for k, x in points.items())",
        f"    grad = lambda points: {{k: {sign}(x + row[k] + np.sin(x)) for k, x in points.items()}}",
        f"    hess = lambda points, v: {{k: {sign}(1 + np.cos(x))*v[k] for k, x in points.items()}}",
        "    for judge in judges:",
        f"        judge.step(oracles={{{name!r}: f, {f'∇{name}'!r}: grad, {f'∇²{name}'!r}: hess}})",
        "    print('backend  ', [p.tolist() for p in params])",
        "    print('reference', [x.tolist() for judge in judges for x in judge.params.values()])",
    ]


def _row(row: tuple[Array | None, ...]) -> str:
    return f"[{', '.join('None' if g is None else literal(g) for g in row)}]"


def literal(values: Array) -> str:
    """An array as Python text that gives the same array.

    >>> import numpy as np
    >>> literal(np.array([[0.5, 1.0]]))
    'np.array([0.5, 1.0], dtype=float).reshape((1, 2))'
    """
    return f"np.array([{', '.join(map(repr, values.ravel().tolist()))}], dtype=float).reshape({values.shape})"
