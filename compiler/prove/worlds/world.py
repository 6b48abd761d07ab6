"""A world: one choice of sizes, numbers and functions, in which any node of the IR has an exact value.

Arrays are NumPy arrays of Python numbers, with named axes. The user's objective is a table: the first time that it is
asked at a point an answer is drawn, the same point gets the same answer. Finitely many answers always belong to some
smooth function, so a claim that fails in a world is false. Functions with properties are drawn from families that
have them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial, reduce
from typing import Any

import mpmath
import numpy as np

from dotopt.compiler.ir import Fold, Loop, Node, Random
from dotopt.compiler.prove.worlds import numbers as num
from dotopt.compiler.types import REST

Value = tuple[tuple[str, ...], Any]  # axes, object array
Place = tuple[tuple[Any, ...], ...]  # the arguments of a function, each as a row of numbers
SMALL = tuple(Fraction(n, 2) for n in (-6, -4, -2, 0, 2, 4, 6, 1, -1, 3))


ROLES = ("param", "state", "input", "hyper", "time", "axis", "draw", "index", "set", "free")  # leaves that may be drawn
RADII = (Fraction(1, 3), Fraction(1, 2), Fraction(1), Fraction(1, 5))


class Undecidable(Exception):
    """The value of a node cannot be had here; the message says which."""


@dataclass(frozen=True)
class Special:
    """What premises ask for and random numbers never meet: orthogonal and symmetric matrices, zeros of gradients."""

    orthogonal: frozenset[Node] = frozenset()
    symmetric: frozenset[Node] = frozenset()
    zeros: Mapping[str, Node] = field(default_factory=dict)  # f -> a leaf at which its gradient is zero


@dataclass
class World:
    """Values for leaves come from `given`, else from `draw(leaf, size)`, else small random numbers."""

    seed: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    given: dict[Node, Any] = field(default_factory=dict)
    draw: Callable[[Node, random.Random], Fraction | None] = lambda node, rng: None
    classes: dict[str, Any] = field(
        default_factory=dict
    )  # functions with properties: f = ½ Σ a x² + b x, low <= a <= high
    laws: dict[str, Random] = field(default_factory=dict)  # of the draws, by name
    index_sets: dict[str, Node] = field(default_factory=dict)  # what each free index runs over
    special: Special = field(default_factory=lambda: Special())
    answer: Callable[[Node], Any] = lambda node: None  # a wanted answer of an oracle
    parent: World | None = None
    small: tuple[Fraction, ...] = SMALL

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.memo: dict[Node, Value] = {}
        self.table: dict[Any, Any] = {} if self.parent is None else self.parent.table
        self.bound: frozenset[Node] = frozenset()
        self.values: dict[Node, Value] = {} if self.parent is None else self.parent.values
        self.touched: dict[Any, None] = (
            {} if self.parent is None else self.parent.touched
        )  # keys of the table, in order

    # ---- entry points ----------------------------------------------------------------------------------------------

    def value(self, root: Node) -> Value:
        """The value of `root`; raises `Undecidable` for operations without an exact meaning here."""
        if root in self.memo:
            return self.memo[root]
        if self.parent is not None and not self._depends(root):
            return self.parent.value(root)
        for here in root.walk() if not self.bound else _args_first(root):
            if here in self.memo:
                continue
            if self.parent is not None and not self._depends(here):
                self.memo[here] = self.parent.value(here)
            elif all(a in self.memo for a in here.args) and (here is root or _outside(here)):
                self.memo[here] = self._one(here, [self.memo[a] for a in here.args])
        if root not in self.memo:
            self.memo[root] = self._one(root, [self.value(a) for a in root.args])
        return self.memo[root]

    def truth(self, root: Node) -> bool | None:
        """Whether a boolean node holds at every place: None where it is not defined or too close to tell."""
        match root.op:
            case "and":
                parts = [self.truth(a) for a in root.args]
                return False if False in parts else None if None in parts else True
            case "or" if not root.type.axes:
                parts = [self.truth(a) for a in root.args]
                return True if True in parts else None if None in parts else False
            case "not" if not root.type.axes:
                part = self.truth(root.args[0])
                return None if part is None else not part
        _, array = self.value(root)
        flat = [bool(x) if x is not None else None for x in np.asarray(array, dtype=object).ravel()]
        return None if None in flat else False not in flat

    def size(self, axis: str) -> int:
        """The size of an axis."""
        if axis.isdigit():
            return int(axis)
        root = self
        while root.parent is not None:
            root = root.parent
        if axis not in root.sizes:
            root.sizes[axis] = root.rng.choice((2, 3)) if axis != REST else root.rng.choice((1, 2, 3))
        return root.sizes[axis]

    def _depends(self, root: Node) -> bool:
        return any(here in self.bound for here in root.walk())

    def inner(self, values: dict[Node, Value]) -> World:
        """A world in which the variables of a loop or fold have values."""
        child = World(
            self.seed,
            self.sizes,
            self.given,
            self.draw,
            self.classes,
            self.laws,
            self.index_sets,
            self.special,
            self.answer,
            self,
            self.small,
        )
        child.rng = self.rng
        child.bound = frozenset(values)
        child.memo = dict(values)
        return child

    # ---- one node --------------------------------------------------------------------------------------------------

    def _one(self, here: Node, a: list[Value]) -> Value:
        op = here.op
        if op in _UNARY:
            return a[0][0], _each(_UNARY[op], a[0][1])
        if op in _BINARY:
            return self._pointwise(_BINARY[op], a)
        match op:
            case "const":
                return (), _scalar(here.attrs[0])
            case "bool":
                return (), _scalar(bool(here.attrs[0]))
            case "pi":
                return (), _scalar(+mpmath.pi)
            case "leaf":
                return self._leaf(here)
            case "stop" | "cast":
                return a[0]
            case "select":
                return self._pointwise(lambda c, x, y: None if c is None else x if c else y, a)
            case "sum" | "mean" | "amax" | "amin" | "norm" | "size" | "std":
                return self._reduction(here, a[0])
            case "zeros" | "ones":
                axes = here.type.axes
                return axes, self._full(axes, Fraction(int(op == "ones")))
            case "eye":
                n = self.size(here.attrs[0])
                array = self._full((here.attrs[0],) * 2, Fraction(0))
                for i in range(n):
                    array[i, i] = Fraction(1)
                return here.type.axes, array
            case "matmul" | "transpose" | "outer" | "trace" | "diagonal" | "inverse" | "solve" | "tril":
                return self._matrix(here, a)
            case "polar" | "svdvals" | "spectral_norm" | "spectral_radius" | "eigenvectors" | "unit":
                return self._spectral(here, a[0])
            case "oracle":
                return self._oracle(here, a)
            case "apply" | "conjugate":
                return self._function(here, a)
            case "base":
                return self._base(here, a)
            case "base_member":
                key = ("base", here.attrs[0])
                if key not in self.table:
                    self.table[key] = self.rng.choice((Fraction(1), Fraction(1, 2), Fraction(1, 10)))
                return (), _scalar(self.table[key])
            case "loop":
                return (), self._loop(here, a)
            case "item" if len(here.args) == 1:  # not the member of a family that an oracle gives
                return a[0][1][here.attrs[0]]  # type: ignore[no-any-return]
            case "tuple":
                return (), list(a)
            case "fold":
                return self._fold(here, a)
            case "range":
                return (), list(range(int(a[0][1].item()), int(a[1][1].item()) + 1))
            case "contains":
                return (), _scalar(a[1][1].item() in a[0][1])
            case "native":
                return (), _scalar(Fraction(self.size(here.args[0].type.axes[here.attrs[0]])))
            case "fires":  # which step this is, a premise or the run says, and the node does not know it
                raise Undecidable("an equation that does not fire in every step")
            case _:
                raise Undecidable(f"`{op}` has no exact value here")

    def _pointwise(self, function: Callable[..., Any], a: list[Value]) -> Value:
        if all(not own for own, _ in a):
            return (), _scalar(function(*(array.item() for _, array in a)))
        axes: tuple[str, ...] = max((x[0] for x in a), key=len)
        if all(own == axes for own, _ in a):
            return axes, _each(function, *(array for _, array in a))
        for own, _ in a:
            if len(set(own)) == len(own):
                axes = axes + tuple(x for x in own if x not in axes)
        arrays = [np.broadcast_to(_align(x, axes), [self.size(y) for y in axes]) for x in a]
        return axes, _each(function, *arrays)

    def _full(self, axes: tuple[str, ...], value: Any) -> Any:
        array = np.empty([self.size(x) for x in axes], dtype=object)
        array[...] = value
        return array

    def _leaf(self, here: Node) -> Value:
        if here in self.given:
            axes = here.type.axes
            given = self.given[here]
            array = given if isinstance(given, np.ndarray) else self._full(axes, given)
            value = axes, array
        else:
            axes = here.type.axes
            place = here.role == "input" and here.name.startswith("output_of(")  # where the objective is asked
            if here.role not in ROLES or (here.type.any and not place):
                raise Undecidable(f"`{here.name}` has no value of its own")
            if here.role == "axis":
                value = (), _scalar(Fraction(self.size(here.name)))
            elif here.role == "index":
                elements = self.index_sets.get(here.name)
                if elements is None:
                    raise Undecidable(f"the index `{here.name}`")
                value = (), _scalar(Fraction(self.rng.choice(self.value(elements)[1])))
            elif here.role == "draw":
                value = self._law(here, axes)
            elif here.type.kind == "set" or here.role == "set":
                n = self.size("#" + here.name)
                return (), list(range(1, n + 1))
            elif here.args:
                key = (here.name, *(x for arg in here.args for x in np.ravel(self.value(arg)[1]).tolist()))
                if key not in self.table:
                    self.table[key] = self._drawn(here, axes)
                value = axes, self.table[key]
            else:
                value = axes, self._drawn(here, axes)
        self.values[here] = value
        return value

    def _law(self, here: Node, axes: tuple[str, ...]) -> Value:
        """A value that the law of a draw allows."""
        random = self.laws.get(here.name.split("#")[0])
        if random is None or here.args:
            raise Undecidable(f"the law of `{here.name}`")
        match random.law:
            case "normal":
                return axes, self._drawn(here, axes)
            case "rademacher":
                choices: list[Any] = [Fraction(1), Fraction(-1)]
            case "bernoulli":
                choices = [True, False]
            case "uniform":
                low, high = (self.value(a)[1].item() for a in random.args)
                choices = [num.add(low, num.mul(num.sub(high, low), Fraction(k, 4))) for k in (1, 2, 3)]
            case "permutation":
                order = list(self.value(random.args[0])[1])
                self.rng.shuffle(order)
                return (), order
            case "choose":
                elements, count = list(self.value(random.args[0])[1]), self.value(random.args[1])[1].item()
                if not 0 <= count <= len(elements) or count.denominator != 1:
                    raise Undecidable("a choice of more than there is")
                return (), sorted(self.rng.sample(elements, int(count)))
            case _:
                raise Undecidable(f"the law `{random.law}`")
        array = self._full(axes, None)
        for place in np.ndindex(array.shape):
            array[place] = self.rng.choice(choices)
        return axes, array

    def _drawn(self, here: Node, axes: tuple[str, ...]) -> Any:
        if here in self.special.orthogonal and len(axes) == 2:
            return _rotation(self.size(axes[0]), self.size(axes[1]), self.rng)
        array = self._full(axes, None)
        for place in np.ndindex(array.shape):
            drawn: Any = self.draw(here, self.rng)
            if drawn is None:
                drawn = self.rng.choice((True, False)) if here.type.kind == "bool" else self.rng.choice(self.small)
            array[place] = drawn
        if here in self.special.symmetric and array.ndim == 2:
            for i, j in np.ndindex(array.shape):
                array[i, j] = array[max(i, j), min(i, j)]
        return array

    # ---- reductions and matrices -----------------------------------------------------------------------------------

    def _reduction(self, here: Node, x: Value) -> Value:
        reduced = tuple(here.attrs[0])
        axes, array = x
        if here.op == "size" and isinstance(array, list):
            return (), _scalar(Fraction(len(array)))
        if here.op == "size":
            sizes = [self.size(axis) for axis in reduced]
            return (), _scalar(reduce(num.mul, map(Fraction, sizes), Fraction(1)))
        positions = tuple(i for i, axis in enumerate(axes) if axis in reduced)
        missing = [axis for axis in reduced if axis not in axes]
        kept = tuple(axis for axis in axes if axis not in reduced)
        count = Fraction(1)
        for axis in set(reduced):
            count *= self.size(axis) ** max(here.args[0].type.axes.count(axis), 1)
        copies = Fraction(1)
        for axis in missing:
            copies *= self.size(axis)

        def fold(function: Callable[[Any, Any], Any], values: Any) -> Any:
            moved = np.moveaxis(values, positions, range(len(positions)))
            flat = moved.reshape((-1, *moved.shape[len(positions) :]))
            return reduce(lambda p, q: _each(function, p, q), [_array(row) for row in flat])

        def total(values: Any) -> Any:
            return _each(lambda v: num.mul(v, copies), fold(num.add, values))

        match here.op:
            case "sum":
                return kept, total(array)
            case "mean":
                return kept, _each(lambda v: num.div(v, count), total(array))
            case "amax":
                return kept, fold(num.largest, array)
            case "amin":
                return kept, fold(num.smallest, array)
            case "norm" if here.attrs[2] is None:
                return kept, fold(num.largest, _each(num.absolute, array))
            case "norm" if here.attrs[2] == 1:
                return kept, total(_each(num.absolute, array))
            case "norm" if here.attrs[2] == 2:
                return kept, _each(num.sqrt, total(_each(lambda v: num.mul(v, v), array)))
            case "std":
                mean = total(array)
                squares = total(_each(lambda v: num.mul(v, v), array))
                return kept, _each(
                    lambda s, m: num.sqrt(num.div(num.sub(s, num.div(num.mul(m, m), count)), count - 1)), squares, mean
                )
            case _:
                raise Undecidable(f"a norm of order {here.attrs[2]}")

    def _matrix(self, here: Node, a: list[Value]) -> Value:
        types = [arg.type.axes for arg in here.args]
        if any(REST in t for t in types):
            raise Undecidable("a product of matrices with leading axes")
        arrays = [np.broadcast_to(_align(x, t), [self.size(y) for y in t]) for x, t in zip(a, types, strict=True)]
        match here.op:
            case "transpose":
                return here.type.axes, arrays[0].T
            case "trace":
                return (), _scalar(reduce(num.add, [arrays[0][i, i] for i in range(len(arrays[0]))]))
            case "diagonal":
                return here.type.axes, _array([arrays[0][i, i] for i in range(len(arrays[0]))])
            case "tril":
                out = arrays[0].copy()
                for i, j in np.ndindex(out.shape):
                    if j > i:
                        out[i, j] = Fraction(0)
                return here.type.axes, out
            case "outer":
                return here.type.axes, _array([[num.mul(x, y) for y in arrays[1]] for x in arrays[0]])
            case "matmul":
                return here.type.axes, _product(arrays[0], arrays[1])
            case "inverse":
                return here.type.axes, _solve(arrays[0], _identity(len(arrays[0])))
            case _:
                right = arrays[1] if arrays[1].ndim == 2 else arrays[1][:, None]
                solved = _solve(arrays[0], right)
                return here.type.axes, solved if arrays[1].ndim == 2 else solved[:, 0]

    def _spectral(self, here: Node, x: Value) -> Value:
        axes, array = x
        if here.op == "unit":
            square = num.sqrt(reduce(num.add, [num.mul(v, v) for v in array.ravel()]))
            return axes, _each(lambda v: num.div(v, square), array)
        if len(axes) != 2:
            raise Undecidable(f"`{here.op}` of a tensor that is not a matrix")
        if any(v is None for v in array.ravel()):
            return here.type.axes, self._full(here.type.axes, None)
        matrix = mpmath.matrix([[num.real(v) for v in row] for row in array])
        if here.op == "spectral_radius":
            values = mpmath.eig(matrix, left=False, right=False)
            return (), _scalar(max(abs(v) for v in values))
        u, s, v = mpmath.svd_r(matrix)
        singular = [s[i] for i in range(len(s))]
        match here.op:
            case "spectral_norm":
                return (), _scalar(max(singular))
            case "svdvals":
                return here.type.axes, _array(singular)
            case "polar":
                if min(singular) < num.FAR:
                    raise Undecidable("the polar factor of a singular matrix")
                product = u * v
                rows, columns = array.shape
                return axes, _array([[product[i, j] for j in range(columns)] for i in range(rows)])
            case _:
                raise Undecidable(f"`{here.op}` has no exact value here")

    # ---- functions of the user -------------------------------------------------------------------------------------

    def _oracle(self, here: Node, a: list[Value]) -> Value:
        name, what = here.attrs[0], here.attrs[1]
        point = a[:-1] if what in ("hessian_vector",) else a
        place = tuple(tuple(np.ravel(v[1]).tolist()) if isinstance(v[1], np.ndarray) else (str(v[1]),) for v in point)
        if any(x is None for p in place for x in p):
            return here.type.axes, self._full(here.type.axes, None)
        key = (name, what, here.attrs[2], self._place((name, here.attrs[2]), place))
        if what in ("hessian", "third"):
            raise Undecidable(f"the {what} of `{name}`")
        if what == "hessian_vector" and name in self.classes:
            raise Undecidable(f"the Hessian of `{name}`")
        if what == "hessian_vector":
            return self._hessian_vector(here, key, a[-1])
        if what == "value" and here.attrs[2]:
            return self._one_by_one(here, a, str(here.attrs[2]).removeprefix("per "))
        zero = self.special.zeros.get(name)
        asked = zero is not None and what in ("gradient", "field") and name not in self.classes
        if zero is not None and asked and _same_place(key[3], (tuple(np.ravel(self.value(zero)[1]).tolist()),)):
            return here.type.axes, self._full(here.type.axes, Fraction(0))
        if name in self.classes and what in ("value", "gradient", "field"):
            return self._quadratic(here, name, a[here.attrs[3][0]])
        wanted = self.answer(here)
        if wanted is not None:
            array = wanted if isinstance(wanted, np.ndarray) else self._full(here.type.axes, wanted)
            if key in self.table and self.table[key].ravel().tolist() != array.ravel().tolist():
                raise Undecidable("two answers at one point")
            self.table[key] = array
        self.touched[key] = None
        if key not in self.table:
            axes = here.type.axes
            array = self._full(axes, None)
            for index in np.ndindex(array.shape):
                array[index] = self.rng.choice(self.small)
            self.table[key] = array
        return here.type.axes, self.table[key]

    def _one_by_one(self, here: Node, a: list[Value], axis: str) -> Value:
        """`f(V, per=N)`: the value at each of N points."""
        axes, array = a[here.attrs[3][0]]
        if axis not in axes or len(a) != 1 or here.attrs[0] in self.classes:
            raise Undecidable("values one by one")
        rows = np.moveaxis(array, axes.index(axis), 0)
        values: list[Any] = []
        for row in rows:
            flat = tuple(np.ravel(row).tolist())
            if any(x is None for x in flat):
                values.append(None)
                continue
            key = (here.attrs[0], "value", None, self._place((here.attrs[0], None), (flat,)))
            if key not in self.table:
                self.table[key] = _scalar(self.rng.choice(self.small))
            values.append(self.table[key].item())
        return (axis,), _array(values)

    def _quadratic(self, here: Node, name: str, x: Value) -> Value:
        axes, array = x
        if (name, "centre") not in self.table or self.table[(name, "centre")].shape != array.shape:
            zero = self.special.zeros.get(name)
            centre = self.value(zero)[1] if zero is not None else self._small(array.shape)
            self.table[(name, "centre")] = np.broadcast_to(centre, array.shape)
            self.table[(name, "curvature")] = self._small(array.shape, lambda: self._curvature(name))
            bend = (
                self.classes[name].low is not None and self.rng.random() < 0.5
            )  # Huber's function: straight further out
            self.table[(name, "radius")] = self._small(array.shape, lambda: self.rng.choice(RADII)) if bend else None
        self.touched.update(dict.fromkeys(((name, "curvature"), (name, "centre"), (name, "radius"))))
        a, centre, radius = (self.table[(name, word)] for word in ("curvature", "centre", "radius"))
        self._check_class(name, a)
        low = self.value(self.classes[name].low)[1].item() if self.classes[name].low is not None else Fraction(0)
        off = _each(num.sub, array, centre)
        near = (
            off
            if radius is None
            else _each(
                lambda v, r: num.largest(num.sub(0, r), num.smallest(r, v)) if v is not None else None, off, radius
            )
        )
        steep = _each(lambda k: num.sub(k, low), a)  # f = low/2 v² + (a - low) huber(v)
        if here.attrs[1] in ("gradient", "field"):
            return axes, _each(lambda k, u, v: num.add(num.mul(k, u), num.mul(low, v)), steep, near, off)
        terms = _each(
            lambda k, u, v: num.add(
                num.mul(num.mul(k, u), num.sub(v, num.div(u, Fraction(2)))),
                num.mul(num.div(low, Fraction(2)), num.mul(v, v)),
            ),
            steep,
            near,
            off,
        )
        if (name, "offset") not in self.table:
            self.table[(name, "offset")] = self.rng.choice(self.small)
        return (), _scalar(num.add(self.table[(name, "offset")], reduce(num.add, terms.ravel())))

    def _check_class(self, name: str, curvatures: Any) -> None:
        """The curvatures must be those that the class allows, also after numbers have been made simpler."""
        allowed = self.classes[name]
        high = self.value(allowed.high)[1].item() if allowed.high is not None else None
        low = self.value(allowed.low)[1].item() if allowed.low is not None else None
        bottom = low if low is not None else None if high is None else num.sub(Fraction(0), high)
        for k in np.ravel(_object_array(curvatures)):
            if (bottom is not None and num.tell(k, bottom) not in (0, 1)) or (
                high is not None and num.tell(k, high) not in (0, -1)
            ):
                raise Undecidable(f"a curvature outside the class of `{name}`")

    def _small(self, shape: tuple[int, ...], draw: Callable[[], Any] | None = None) -> Any:
        array = np.empty(shape, dtype=object)
        for place in np.ndindex(shape):
            array[place] = draw() if draw is not None else self.rng.choice(self.small)
        return array

    def _curvature(self, name: str) -> Any:
        """A curvature that the class of the function allows."""
        allowed = self.classes[name]
        if allowed.unknown:
            raise Undecidable(f"no model of the properties of `{name}`")
        high = self.value(allowed.high)[1].item() if allowed.high is not None else None
        low = self.value(allowed.low)[1].item() if allowed.low is not None else None
        if high is None:
            return num.add(low if low is not None else Fraction(0), abs(self.rng.choice(self.small)))
        bottom = num.sub(Fraction(0), high) if low is None else low
        part = self.rng.choice((Fraction(0), Fraction(1), Fraction(1), Fraction(1, 2), Fraction(9, 10)))
        return num.add(bottom, num.mul(part, num.sub(high, bottom)))

    def _place(self, function: Any, place: Place) -> Place:
        """The place where this function was asked before that is the same up to rounding, else this one."""
        known: tuple[Place, ...] = self.table.get((function, "places"), ())
        for other in known:
            if _same_place(other, place):
                return other
        self.table[(function, "places")] = (*known, place)
        return place

    def _hessian_vector(self, here: Node, key: Any, v: Value) -> Value:
        n = v[1].size
        if key not in self.table:
            matrix = np.empty((n, n), dtype=object)
            for i in range(n):
                for j in range(i + 1):
                    matrix[i, j] = matrix[j, i] = self.rng.choice(self.small)
            self.table[key] = matrix
        product = _product(self.table[key], v[1].ravel())
        return v[0], product.reshape(v[1].shape)

    def _function(self, here: Node, a: list[Value]) -> Value:
        """A convex function of the user is k/2 ‖u‖² here, whose conjugate is ‖y‖²/(2k)."""
        name = here.attrs[0]
        if name not in self.classes:
            if here.op == "conjugate" or here.attrs[1] not in (0, 1):
                raise Undecidable(f"the conjugate of `{name}`")
            return self._free_function(here, a)
        key = (name, "stiffness")
        if key not in self.table:
            self.table[key] = self._curvature(name)
            if not isinstance(self.table[key], Fraction) or self.table[key] <= 0:
                raise Undecidable("a flat function")
        self.touched[key] = None
        self._check_class(name, self.table[key])
        k = self.table[key] if here.op == "apply" else 1 / self.table[key]
        if len(a) != 1:
            raise Undecidable(f"a function `{name}` of several arguments")
        axes, array = a[0]
        if here.attrs[1] == 1:
            return axes, _each(lambda v: num.mul(k, v), array)
        squares = [num.mul(v, v) for v in array.ravel()]
        return (), _scalar(num.mul(k / 2, reduce(num.add, squares)))

    def _base(self, here: Node, a: list[Value]) -> Value:
        """Where some rule without states goes: a table, asked in one way only, as B(θ) is also B(θ, ∇f(θ))."""
        way = self.table.setdefault(("base", "way"), (here.attrs[0], len(a)))
        if way != (here.attrs[0], len(a)):
            raise Undecidable("a base rule that is asked in two ways")
        place = tuple(tuple(np.ravel(v[1]).tolist()) for v in a)
        if any(x is None for p in place for x in p):
            return here.type.axes, self._full(here.type.axes, None)
        key = ("base", self._place("base", place))
        if key not in self.table:
            self.table[key] = self._small(tuple(self.size(x) for x in here.type.axes))
        return here.type.axes, self.table[key]

    def _free_function(self, here: Node, a: list[Value]) -> Value:
        """A function of the user without properties: a table, as for the objective."""
        place = tuple(tuple(np.ravel(v[1]).tolist()) for v in a if isinstance(v[1], np.ndarray))
        if any(x is None for p in place for x in p):
            return here.type.axes, self._full(here.type.axes, None)
        key = (here.attrs[0], here.attrs[1], here.attrs[2], self._place((here.attrs[0], here.attrs[2]), place))
        if here.type.any:
            raise Undecidable(f"a function `{here.attrs[0]}` without a type")
        if key not in self.table:
            array = self._full(here.type.axes, None)
            for index in np.ndindex(array.shape):
                array[index] = self.rng.choice(self.small)
            self.table[key] = array
        return here.type.axes, self.table[key]

    # ---- loops -----------------------------------------------------------------------------------------------------

    def _loop(self, here: Node, a: list[Value]) -> list[Value]:
        body: Loop = here.attrs[0]
        domain = a[0][1]
        passes = domain if isinstance(domain, list) else range(1, int(domain.item()) + 1)
        current = list(a[1:])
        if len(passes) > 50:
            raise Undecidable("a long loop")
        for i in passes:
            values = dict(zip(body.variables, current, strict=True))
            if body.index is not None:
                values[body.index] = ((), _scalar(Fraction(i)))
            frame = self.inner(values)
            if body.until is not None:
                stop = frame.truth(body.until)
                if stop is None:
                    raise Undecidable("the end of a loop")
                if stop:
                    break
            current = [frame.value(n) for n in body.nexts]
        return current

    def _fold(self, here: Node, a: list[Value]) -> Value:
        body: Fold = here.attrs[0]
        if (
            not a
            or not isinstance(a[0][1], list)
            or len(body.indices) > 2
            or body.kind not in ("sum", "mean", "max", "min")
        ):
            raise Undecidable(f"a reduction over `{here}`")
        elements = a[0][1]
        places = [(i,) for i in elements] if len(body.indices) == 1 else [(i, j) for i in elements for j in elements]
        results = []
        for place in places:
            frame = self.inner({leaf: ((), _scalar(Fraction(i))) for leaf, i in zip(body.indices, place, strict=True)})
            if body.condition is not None and not frame.truth(body.condition):
                continue
            results.append(frame.value(body.body))
        if not results:
            return (), _scalar(Fraction(0) if body.kind == "sum" else None)
        function = {"max": num.largest, "min": num.smallest}.get(body.kind, num.add)
        total = reduce(lambda p, q: self._pointwise(function, [p, q]), results)
        if body.kind == "mean":
            return total[0], _each(lambda v: num.div(v, Fraction(len(results))), total[1])
        return total


_UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": lambda x: None if x is None else -num.plain(x),
    "abs": num.absolute,
    "sign": num.sign,
    "sqrt": num.sqrt,
    "relu": lambda x: num.largest(x, Fraction(0)),
    "floor": num.floor,
    "ceil": lambda x: None if num.floor(None if x is None else -num.plain(x)) is None else -num.floor(-num.plain(x)),
    "not": lambda x: None if x is None else not x,
    **{
        name: num.function(name)
        for name in ("exp", "log", "sin", "cos", "tan", "tanh", "acos", "atanh", "erf", "sigmoid", "gelu")
    },
}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": num.add,
    "sub": num.sub,
    "mul": num.mul,
    "div": num.div,
    "pow": num.power,
    "max": num.largest,
    "min": num.smallest,
    "mod": lambda x, y: None if x is None or y is None or y == 0 else num.sub(x, num.mul(y, num.floor(num.div(x, y)))),
    "and": lambda x, y: False if x is False or y is False else None if x is None or y is None else bool(x and y),
    "or": lambda x, y: True if x is True or y is True else None if x is None or y is None else bool(x or y),
    **{name: partial(num.compare, name) for name in ("lt", "le", "gt", "ge", "eq", "ne")},
}


def _args_first(root: Node) -> list[Node]:
    return [root]


def _outside(here: Node) -> bool:
    return here.role not in ("loop", "index")


def _rotation(rows: int, columns: int, rng: random.Random) -> Any:
    """A rational matrix with orthonormal columns (or rows): rotations by (3, 4, 5), swaps and signs."""
    n = max(rows, columns)
    q = _identity(n)
    for _ in range(2 * n):
        i, j = rng.randrange(n), rng.randrange(n)
        if i == j:
            q[i] = -q[i]
            continue
        c, s = rng.choice(
            ((Fraction(3, 5), Fraction(4, 5)), (Fraction(0), Fraction(1)), (Fraction(5, 13), Fraction(-12, 13)))
        )
        q[i], q[j] = c * q[i] - s * q[j], s * q[i] + c * q[j]
    return q[:rows, :columns].copy()


def _scalar(value: Any) -> Any:
    array = np.empty((), dtype=object)
    array[()] = value
    return array


def _object_array(x: Any) -> Any:
    return x if isinstance(x, np.ndarray) else _scalar(x)


def _array(values: Any) -> Any:
    if isinstance(values, np.ndarray):
        return values
    if not isinstance(values, list):
        return _scalar(values)
    shape: list[int] = []
    probe: Any = values
    while isinstance(probe, list):
        shape.append(len(probe))
        probe = probe[0] if probe else None
    array = np.empty(shape, dtype=object)
    for index in np.ndindex(*shape):
        here = values
        for i in index:
            here = here[i]
        array[index] = here
    return array


def _each(function: Callable[..., Any], *arrays: Any) -> Any:
    if all(array.ndim == 0 for array in arrays):
        return _scalar(function(*(array.item() for array in arrays)))
    if len({array.shape for array in arrays}) == 1:
        out = np.empty(arrays[0].shape, dtype=object)
        out.ravel()[:] = list(map(function, *(array.ravel().tolist() for array in arrays)))
        return out
    return np.frompyfunc(function, len(arrays), 1)(*arrays)


def _align(x: Value, axes: tuple[str, ...]) -> Any:
    own, array = x
    if own == axes:
        return array
    order = [own.index(axis) for axis in axes if axis in own]
    moved = np.transpose(array, order) if len(order) > 1 else array
    return moved.reshape(
        [moved.shape[[a for a in axes if a in own].index(axis)] if axis in own else 1 for axis in axes]
    )


def _product(left: Any, right: Any) -> Any:
    rows = left if left.ndim == 2 else left[None, :]
    columns = right if right.ndim == 2 else right[:, None]
    out = np.empty((rows.shape[0], columns.shape[1]), dtype=object)
    for i, j in np.ndindex(out.shape):
        out[i, j] = reduce(num.add, [num.mul(rows[i, k], columns[k, j]) for k in range(rows.shape[1])], Fraction(0))
    if left.ndim == 1:
        out = out[0]
    return out[..., 0] if right.ndim == 1 else _array(out)


def _identity(n: int) -> Any:
    out = np.empty((n, n), dtype=object)
    out[...] = Fraction(0)
    for i in range(n):
        out[i, i] = Fraction(1)
    return out


def _solve(matrix: Any, right: Any) -> Any:
    n = len(matrix)
    a = np.concatenate([matrix, right], axis=1).astype(object)
    for column in range(n):
        pivot = next((r for r in range(column, n) if a[r, column] is not None and a[r, column] != 0), None)
        if pivot is None:
            out = np.empty(right.shape, dtype=object)
            out[...] = None
            return out
        a[[column, pivot]] = a[[pivot, column]]
        scale = a[column, column]
        a[column] = [num.div(v, scale) for v in a[column]]
        for r in range(n):
            if r != column:
                factor = a[r, column]
                a[r] = [num.sub(v, num.mul(factor, w)) for v, w in zip(a[r], a[column], strict=True)]
    return a[:, n:]


def _same_place(left: Place, right: Place) -> bool:
    """Whether two arguments of a function are the same; raises `Undecidable` if rounding hides it."""
    if left == right:
        return True
    if [len(p) for p in left] != [len(p) for p in right]:
        return False
    unsure = False
    for p, q in zip(left, right, strict=True):
        for x, y in zip(p, q, strict=True):
            same = x == y if isinstance(x, str) or isinstance(y, str) else num.same(x, y)
            if same is False:
                return False
            unsure = unsure or same is None
    if unsure:
        raise Undecidable("two points that rounding does not tell apart")
    return True
