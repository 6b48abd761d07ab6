"""Types of values: a kind and named axes. Broadcasting is by axis name, never by position."""

from __future__ import annotations

from dataclasses import dataclass

REST = "…"  # the axes that the rule does not name


class Mismatch(Exception):
    """Two types that do not fit; `left` and `right` describe them to the user."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} meets {right}")
        self.left = left
        self.right = right


@dataclass(frozen=True, slots=True)
class Type:
    """`kind` is real, int, bool, complex, list, sample, set, tuple or any; `axes` are names in order, `…` for the rest.

    `any` is the result of a user function without a declared type: it fits everything.
    """

    kind: str = "real"
    axes: tuple[str, ...] = ()
    items: tuple[Type, ...] = ()

    @property
    def scalar(self) -> bool:
        """A number, not a tensor."""
        return not self.axes and self.kind in ("real", "int", "bool", "complex")

    @property
    def any(self) -> bool:
        """Nothing is known of it."""
        return self.kind == "any"

    def __str__(self) -> str:
        if self.kind == "tuple":
            return f"({', '.join(map(str, self.items))})"
        if not self.axes:
            return self.kind
        return f"{self.kind}[{', '.join('...' if axis == REST else axis for axis in self.axes)}]"


REAL = Type("real")
INT = Type("int")
BOOL = Type("bool")
ANY = Type("any")
SAMPLE = Type("sample")

_RANKED = ("bool", "int", "real", "complex")


def join_kind(left: str, right: str) -> str:
    """The kind that holds both: bool counts as a number, complex holds all.

    >>> join_kind("bool", "real")
    'real'
    """
    if left in _RANKED and right in _RANKED:
        return _RANKED[max(_RANKED.index(left), _RANKED.index(right))]
    if left == right:
        return left
    raise Mismatch(left, right)


def broadcast(left: Type, right: Type) -> Type:
    """The type of an entrywise operation: the axes of one side must be among those of the other.

    >>> str(broadcast(Type("real", ("n",)), Type("real", ("n", "m"))))
    'real[n, m]'
    """
    if left.any or right.any:
        return ANY if not (left.axes or right.axes) else (right if left.any else left)
    if left.kind == right.kind == "tuple" and len(left.items) == len(right.items):
        return Type("tuple", (), tuple(broadcast(a, b) for a, b in zip(left.items, right.items, strict=True)))
    kind = join_kind(left.kind, right.kind)
    if left.axes == right.axes or fits(right, left):
        return Type(kind, left.axes)
    if fits(left, right):
        return Type(kind, right.axes)
    raise Mismatch(str(left), str(right))


def fits(small: Type, large: Type) -> bool:
    """Whether every axis of `small` is one of `large`; an axis that occurs twice matches only itself twice."""
    if any(large.axes.count(axis) > 1 for axis in small.axes) and small.axes:
        return small.axes == large.axes
    return set(small.axes) <= set(large.axes) and len(set(small.axes)) == len(small.axes)


def matmul(left: Type, right: Type) -> Type:
    """The type of `left @ right`: the last axis of the one meets the first of the other.

    >>> str(matmul(Type("real", ("rows", "cols")), Type("real", ("cols",))))
    'real[rows]'
    """
    if left.any or right.any:
        return ANY
    batch = (REST,) if REST in left.axes[:1] + right.axes[:1] else ()
    a = tuple(axis for axis in left.axes if axis != REST)
    b = tuple(axis for axis in right.axes if axis != REST)
    if not a or not b or a[-1] != b[0]:
        raise Mismatch(_shape(left), _shape(right))
    return Type(join_kind(left.kind, right.kind), batch + a[:-1] + b[1:])


def transpose(operand: Type) -> Type:
    """The type of `Xᵀ`: the last two named axes exchanged; a vector stays what it is."""
    if operand.any or len(operand.axes) < 2 or operand.axes[-2] == REST:
        return operand
    return Type(operand.kind, (*operand.axes[:-2], operand.axes[-1], operand.axes[-2]))


def outer(left: Type, right: Type) -> Type:
    """The type of `outer(a, b)`: the axes of both, shared leading ones once."""
    if left.any or right.any:
        return ANY
    shared = (REST,) if REST in left.axes[:1] + right.axes[:1] else ()
    rest = tuple(a for a in left.axes if a != REST) + tuple(a for a in right.axes if a != REST)
    return Type(join_kind(left.kind, right.kind), shared + rest)


def reduce(operand: Type, axes: tuple[str, ...]) -> Type:
    """The type after `axes` are summed away."""
    if operand.any:
        return REAL
    kept = tuple(axis for axis in operand.axes if axis not in axes)
    return Type("real" if operand.kind == "bool" else operand.kind, kept)


def _shape(type: Type) -> str:
    return f"({', '.join(type.axes)})" if type.axes else f"a scalar ({type.kind})"
