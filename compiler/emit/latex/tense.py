"""What a reader of the equations must know of each name: whether it has a time, and whether it is a number.

Found in the text alone, so that a file that does not compile yet can still be printed.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from dotopt.compiler.text import syntax as s

SCALAR_RESULTS = frozenset(("sum", "mean", "norm", "dot", "std", "rms", "size", "rank", "trace", "spectral_norm"))


@dataclass(frozen=True)
class Names:
    """`moving` have a value for each step; `held` are states and parameters, whose unprimed value is the last one."""

    held: frozenset[str] = frozenset()
    moving: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()

    @classmethod
    def of(cls, file: s.File) -> Names:
        timeless = file.head.word in ("formula", "theorem")
        nodes = list(file.walk())
        declared = [node for node in nodes if isinstance(node, s.Declaration)]
        held = frozenset(d.name for d in declared if d.word in ("state", "param"))
        given = frozenset(d.name for d in declared if d.word in ("input", "output"))
        functions = frozenset(d.name for d in declared if d.word in ("objective", "operator", "function", "base"))
        numbers = {d.name for d in declared if d.word in ("hyper", "const", "option")} | {"t"}
        numbers |= {d.name for d in declared if isinstance(d.type, s.Array) and not d.type.axes}
        numbers |= {axis.name for node in nodes if isinstance(node, s.Array) for axis in node.axes}
        numbers |= {p.name for p in file.head.parameters if p.type is None or _is_scalar(p.type)}
        draws = [target for node in nodes if isinstance(node, s.Draw) for target in node.targets]
        moving = set(held | given | {target.name for target in draws if isinstance(target, s.Name)}) - functions
        definitions = [
            (target.name, node.value)
            for node in nodes
            if isinstance(node, s.Definition)
            for target in node.targets
            if isinstance(target, s.Name) and not target.primed
        ]
        changed = True
        while changed:
            changed = False
            for name, value in definitions:
                used = {part.name for part in value.walk() if isinstance(part, s.Name)}
                if name not in moving and used & (moving | {"t"}):
                    moving.add(name)
                    changed = True
                if name not in numbers and is_number(value, numbers):
                    numbers.add(name)
                    changed = True
        if timeless:
            moving, held = set(), frozenset()
        return cls(held, frozenset(moving), frozenset(numbers), functions)


def _is_scalar(type: s.TypeSyntax) -> bool:
    return isinstance(type, s.Array) and not type.axes


def is_number(value: s.Syntax, numbers: Set[str]) -> bool:
    """Whether the expression is a number as far as the text alone tells."""
    match value:
        case s.Number() | s.Infinity() | s.Boolean() | s.Norm():
            return True
        case s.Name(name=name):
            return name in numbers
        case s.Call(function=s.Name(name=name), arguments=arguments, keywords=keywords):
            if name in SCALAR_RESULTS or (name in ("max", "min") and len(arguments) == 1):
                return all(keyword.name not in ("over", "per") or _whole(keyword) for keyword in keywords)
            return bool(arguments) and all(is_number(argument, numbers) for argument in arguments)
        case s.Call() | s.Gradient() | s.Transpose():
            return False
        case s.Binary(operator="@"):
            return False
        case s.Index(base=base):
            return is_number(base, numbers)
        case s.Case(value=inner):
            return is_number(inner, numbers)
        case s.Conditional(then=then, otherwise=otherwise):
            return is_number(then, numbers) and is_number(otherwise, numbers)
        case s.Expression():
            children = list(value.children())
            return bool(children) and all(is_number(child, numbers) for child in children)
    return False


def _whole(keyword: s.Keyword) -> bool:
    return isinstance(keyword.value, s.Name) and keyword.value.name in ("model", "tensor")
