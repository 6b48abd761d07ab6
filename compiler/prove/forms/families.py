"""Sums over an index, `sum(e for i in S)`: linear, with the index named by how many others its body reads.

Σ (a x[i] + b)                is  a Σ x[i] + b |S|
Σ over D of [i in S] x[i]     is  Σ over S, where S was drawn from D; over S itself the condition is 1
mean(e for i in S if c)       is  Σ [c] e / Σ [c]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from dotopt.compiler.ir import Fold, Node, free_indices, instance, leaf, node
from dotopt.compiler.ops.types import INT
from dotopt.compiler.prove.forms.polynomial import (
    ONE,
    ZERO,
    Atom,
    Monomial,
    Polynomial,
    atom,
    inverse,
    single,
    single_product,
)

if TYPE_CHECKING:
    from dotopt.compiler.prove.forms.normal import Normaliser

MARK = "•"  # begins the names of bound indices
LEVELS = (1, 2)  # of the bound indices for which premises on families are written out


def family(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    """A reduction over an index."""
    found = opened(normal, here)
    if found is None:
        return normal.opaque(here, a)
    bound, term, counted = found
    total = add_up(normal, here.args[0], bound, term)
    if here.attrs[0].kind == "sum":
        return total
    return total * inverse(add_up(normal, here.args[0], bound, counted))


def opened(normal: Normaliser, here: Node) -> tuple[Node, Polynomial, Polynomial] | None:
    """The bound index of a sum or mean, the term that is added up, and whether it counts: 1, or the condition."""
    body = here.attrs[0] if here.op == "fold" else None
    if not isinstance(body, Fold) or body.kind not in ("sum", "mean") or len(body.indices) != 1 or len(here.args) != 1:
        return None
    (index,) = body.indices
    inside = [root for root in (body.body, body.condition) if root is not None]
    taken = {x.name.split(":")[0] for root in inside for x in root.walk() if x.name.startswith(MARK)}
    level = next(k for k in range(1, len(taken) + 2) if f"{MARK}{k}" not in taken)
    bound = _index(level, _drawn_from(normal, here.args[0]) or here.args[0])
    renamed = [normal(instance(root, {index: bound})) for root in inside]
    counted = renamed[1] if len(renamed) > 1 else ONE
    return bound, renamed[0] * counted, counted


def _index(level: int, elements: Node) -> Node:
    """The bound index of a level, which runs over these elements or some of them."""
    return leaf("index", f"{MARK}{level}:{elements!r}", INT)


def instances(premises: Iterable[Node], index_sets: Mapping[str, Node]) -> Iterator[Node]:
    """What premises with a free index, which hold for every element, say of the bound ones."""
    for p in premises:
        free = free_indices(p)
        if len(free) == 1 and (index := next(iter(free))).name in index_sets:
            yield from (instance(p, {index: _index(level, index_sets[index.name])}) for level in LEVELS)


def add_up(normal: Normaliser, elements: Node, bound: Node, p: Polynomial) -> Polynomial:
    """The sum of p over the bound index."""
    total = ZERO
    for monomial, c in p.terms:
        outside = tuple(f for f in monomial if not _reads(f[0], bound))
        inside = tuple(f for f in monomial if _reads(f[0], bound))
        total = total + single_product(outside) * c * _members(normal, elements, bound, inside)
    return total


def _members(normal: Normaliser, elements: Node, bound: Node, inside: Monomial) -> Polynomial:
    """The sum of a product of what hangs on the index."""
    whole = _drawn_from(normal, elements)
    sets = {elements} if whole is not None else set()
    rest: dict[Atom, int] = {}
    for a, power in inside:
        chosen = _set_of(a, bound) if power > 0 else None
        if chosen is not None and (chosen is elements or _drawn_from(normal, chosen) is (whole or elements)):
            sets.add(chosen)
        else:
            rest[a] = power
    if sets:
        elements, *others = sorted(sets, key=repr)
        rest |= {a: 1 for s in others for a in normal(node("contains", s, bound)).atoms()}
    if not rest:
        return single(atom("size", "#" + repr(elements)))
    read = elements if elements.op == "leaf" else tuple(normal(x) for x in elements.args)
    factors = tuple(sorted(rest.items(), key=lambda f: f[0].number))
    axes = frozenset(x for a in rest for x in a.axes)
    return single(atom("family", elements.op, read, bound, factors, axes=axes))


def _set_of(a: Atom, bound: Node) -> Node | None:
    """The set of a condition that the index is in it."""
    if a.kind != "contains":
        return None
    chosen, index = a.key[1]
    if index != single(atom("leaf", "index", bound.name, ())):
        return None
    (found,) = chosen.atoms()
    if found.kind != "leaf" or not isinstance(found.key[0], tuple) or found.key[1]:
        return None
    role, name, type = found.key[0]
    return leaf(role, name, type)


def _drawn_from(normal: Normaliser, chosen: Node) -> Node | None:
    """The set from which a set was drawn, each element at most once."""
    return normal.chosen.get(chosen.name.split("#")[0]) if chosen.role == "draw" else None


def _reads(a: Atom, bound: Node) -> bool:
    """Whether the value of an atom hangs on the index."""
    stack: list[object] = [a]
    while stack:
        here = stack.pop()
        match here:
            case Atom(kind="family", key=(_, elements, other, inside)):
                stack.append(elements)
                stack.extend(inside if other is not bound else ())
            case Atom(kind="leaf", key=("index", name, *_)) if name == bound.name:
                return True
            case Atom():
                stack.extend(here.key)
            case Polynomial():
                stack.extend(here.atoms())
            case Node():
                if bound in set(here.walk()):
                    return True
            case tuple():
                stack.extend(here)
            case _ if hasattr(here, "nodes"):
                stack.extend(here.nodes)
    return False


__all__ = ["add_up", "family", "instances", "opened"]
