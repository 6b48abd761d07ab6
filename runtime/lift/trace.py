"""The step of a class, run on tensors and numbers that carry expressions, once for each way that Python can take.

A run makes the optimizer, takes its first step, then replaces every state by a leaf and takes another. So the first
gives what a fresh optimizer does, the second what one in any state does, at any time.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import torch

from dotopt.compiler.evaluate import evaluate
from dotopt.compiler.ir import Node, leaf, node, number
from dotopt.compiler.ops.types import BOOL, INT, REAL, Type
from dotopt.runtime.lift import operations
from dotopt.runtime.lift.model import over_model
from dotopt.runtime.lift.numbers import (
    PATH,
    Choice,
    Flag,
    Path,
    Real,
    Refused,
    Symbolic,
    Whole,
    exact,
    plain,
    substituted,
)
from dotopt.runtime.lift.tensors import (
    FULL,
    Cell,
    Dims,
    NeedsAxes,
    Tracing,
    attach,
    cell_of,
    full_type,
    holds_data,
    place,
)

MOST_RUNS = 400
MOST_NODES = 20_000
IGNORED = frozenset(("foreach", "fused", "capturable", "differentiable", "maximize"))  # ways to compute, or a sign


@dataclass(frozen=True, slots=True)
class Knob:
    """A number or flag of the constructor: its keyword, place in a tuple, name in the rule, and default."""

    keyword: str
    position: int | None
    name: str
    default: Any

    @property
    def leaf(self) -> Node:
        kind = BOOL if isinstance(self.default, bool) else INT if isinstance(self.default, int) else REAL
        return leaf("option" if kind is BOOL else "hyper", self.name, kind)


@dataclass(frozen=True)
class Constructor:
    """How an optimizer is made: its knobs with numbers, and what is given to it as it is."""

    cls: type[torch.optim.Optimizer]
    knobs: tuple[Knob, ...]
    fixed: Mapping[str, Any]
    values: Mapping[str, Any]  # of the knobs, by name; generic numbers

    def make(
        self, params: Sequence[torch.nn.Parameter], symbolic: bool, values: Mapping[str, Any] | None = None
    ) -> Any:
        """The optimizer; with expressions in place of the numbers, or with the numbers alone."""
        given: dict[str, Any] = dict(self.fixed)
        whole: dict[str, dict[int, Any]] = {}
        for knob in self.knobs:
            value = {**self.values, **(values or {})}[knob.name]
            if symbolic:
                kind = Flag if isinstance(value, bool) else Whole if isinstance(value, int) else Real
                value = Flag(knob.leaf, value) if kind is Flag else kind(value, knob.leaf)  # type: ignore[arg-type]
            if knob.position is None:
                given[knob.keyword] = value
            else:
                whole.setdefault(knob.keyword, {})[knob.position] = value
        given |= {k: tuple(v[i] for i in sorted(v)) for k, v in whole.items()}
        return self.cls(list(params), **given)


@dataclass
class Run:
    """What one run found. `first`, `later` and `start` are by the name of the state; the parameter is `θ`."""

    choices: tuple[Choice, ...] = ()
    first: dict[str, Node] = field(default_factory=dict)
    later: dict[str, Node] = field(default_factory=dict)
    start: dict[str, Node] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)  # tensor, number, group, self
    notes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Shapes of the two parameters, and which axes they have; those of the first decide."""

    shapes: tuple[tuple[int, ...], ...]
    dims: Dims
    rank: int


LAYOUTS = {
    1: Layout(((5,), (3,)), FULL, 1),
    2: Layout(((4, 3), (2, 5)), FULL, 2),
    4: Layout(((3, 2, 2, 3), (2, 3, 3, 2)), FULL, 4),
}
NAMED = Layout(((4, 3), (2, 5)), ("rows", "cols"), 2)


def explore(constructor: Constructor, layout: Layout, known: Sequence[Choice]) -> list[Run]:
    """One run for each combination of choices that can be; those in which the class raises an error have it."""
    waiting: list[tuple[bool, ...]] = [()]
    runs: list[Run] = []
    while waiting:
        if len(runs) >= MOST_RUNS:
            raise Refused(f"more than {MOST_RUNS} ways through one step")
        forced = waiting.pop()
        path = Path(forced, tuple(known))
        runs.append(_run(constructor, layout, path))
        outcomes = [outcome for _, outcome in path.made]
        for i in range(len(forced), len(outcomes)):
            waiting.append((*outcomes[:i], not outcomes[i]))
    return runs


def modules_of(cls: type) -> list[ModuleType]:
    """The modules in which the class, what it inherits, and their helpers are written."""
    packages = {c.__module__.split(".")[0] for c in cls.__mro__} - {"torch", "builtins", "abc", "typing", "collections"}
    found = {name: m for name, m in list(sys.modules.items()) if m is not None and name.split(".")[0] in packages}
    found = {n: m for n, m in found.items() if not n.startswith("dotopt.")}
    own = {c.__module__: sys.modules[c.__module__] for c in cls.__mro__ if c.__module__ in sys.modules}
    own = {n: m for n, m in own.items() if n not in ("builtins", "abc", "typing")}
    if any(n.startswith("torch.optim") for n in own):
        own |= {
            n: m for n, m in list(sys.modules.items()) if n.startswith("torch.optim.") and isinstance(m, ModuleType)
        }
    return list({**found, **own}.values())


def _run(constructor: Constructor, layout: Layout, path: Path) -> Run:
    token = PATH.set(path)
    try:
        with substituted(modules_of(constructor.cls)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _steps(constructor, layout, path)
    except (Refused, RecursionError):
        raise
    finally:
        PATH.reset(token)


class _Kept(dict[Any, Any]):
    """The state of one tensor: what was first put under each name is where that state begins."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: dict[str, Node] = {}

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        for name, leaf_, _, _ in _leaves(str(key), value):
            if name not in self.begun:
                found = _node(leaf_)
                if found is not None:
                    self.begun[name] = found

    def update(self, *others: Any, **more: Any) -> None:
        for key, value in dict(*others, **more).items():
            self[key] = value

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]


class _States(defaultdict[Any, Any]):
    """`optimizer.state`; what is put there as a whole is looked at as well, and left as it is."""

    def __init__(self, given: Mapping[Any, Any]) -> None:
        super().__init__(_Kept)
        self.begun: dict[Any, dict[str, Node]] = {}
        for key, value in given.items():
            self[key] = value

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if not isinstance(value, _Kept):
            self.begun[key] = _started(value).begun

    def start(self, key: Any) -> dict[str, Node]:
        """Where the states of a tensor begin, as far as that was seen."""
        own = self[key].begun if isinstance(self.get(key), _Kept) else {}
        return {**self.begun.get(key, {}), **own}


def _node(value: Any) -> Node | None:
    if isinstance(value, torch.Tensor):
        cell = cell_of(value)
        return None if cell is None else cell.node
    return exact(value)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    """Tensors and numbers in a value, with a name, and the container and key that hold them."""
    waiting: list[tuple[str, Any, Any, Any]] = [(name, value, None, None)]
    while waiting:
        here, item, holder, key = waiting.pop()
        if isinstance(item, torch.Tensor) or (isinstance(item, int | float) and not isinstance(item, bool)):
            yield here, item, holder, key
        elif isinstance(item, dict):
            waiting += [(f"{here}_{k}", v, item, k) for k, v in item.items()]
        elif isinstance(item, list | tuple | deque):
            waiting += [(f"{here}_{i}", v, item, i) for i, v in enumerate(item)]


def _numbers(holder: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in holder.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _steps(constructor: Constructor, layout: Layout, path: Path) -> Run:
    rng = np.random.default_rng(7)
    kind = full_type(layout.dims)
    tensors = [torch.nn.Parameter(torch.tensor(rng.uniform(0.3, 0.9, s))) for s in layout.shapes]
    operations.SHAPES.clear()
    for shape in layout.shapes:
        operations.SHAPES[shape] = layout.dims
    if len(layout.dims) == 2:
        operations.SHAPES |= {(s[0],): ("rows",) for s in layout.shapes}
        operations.SHAPES |= {(s[1],): ("cols",) for s in layout.shapes}
        operations.SHAPES |= {(s[0], 1): ("rows", None) for s in layout.shapes}
        operations.SHAPES |= {(1, s[1]): (None, "cols") for s in layout.shapes}
    values: dict[Node, Any] = {k.leaf: constructor.values[k.name] for k in constructor.knobs}
    for i, tensor in enumerate(tensors):
        suffix = "" if i == 0 else "#2"
        attach(tensor, Cell(leaf("param", "θ" + suffix, kind), layout.dims))
        tensor.grad = attach(
            torch.tensor(rng.uniform(-0.9, 0.9, layout.shapes[i])), Cell(leaf("free", "g" + suffix, kind), layout.dims)
        )
        _note(values, tensor, tensor.grad)
    mode = Tracing()
    found = Run()
    try:
        with mode:
            optimizer = constructor.make(tensors, True)
    except Exception as error:
        if path.made and isinstance(error, ValueError):
            return Run(tuple(path.made), error=_said(error))
        if isinstance(error, Refused | NeedsAxes):
            raise
        raise Refused(f"it is not constructed on symbols: {_said(error)}", _raised(error)) from None
    optimizer.state = _States(optimizer.state)
    groups = [dict(g) for g in optimizer.param_groups]
    own = _numbers(vars(optimizer))
    sizes = {"rows": layout.shapes[0][0], "cols": layout.shapes[0][-1]}
    values |= {leaf("axis", a, INT): np.float64(n) for a, n in sizes.items()}
    stopped = _step(optimizer, mode)
    if stopped:
        return Run(tuple(path.made), error=stopped)
    first, holders = _states(optimizer, tensors, groups, own)
    a, _b = tensors
    found.start = optimizer.state.start(a)
    for name, (value, _, _, where) in first.items():
        found.first[name] = _required(value, name)
        found.places[name] = where
        if where in ("group", "self"):
            held = groups[0].get(name) if where == "group" else own.get(name)
            found.start[name] = exact(held) if held is not None else exact(0)
    found.first["θ"] = _required(a, "θ")
    _verify({n: (v, found.first[n]) for n, (v, *_) in first.items()} | {"θ": (a, found.first["θ"])}, values)
    # any state
    for i, tensor in enumerate(tensors):
        suffix = "" if i == 0 else "#2"
        states = first if i == 0 else holders
        for name, (value, holder, key, where) in states.items():
            if i and where in ("group", "self"):
                continue
            _replace(name + suffix, value, holder, key, found if i == 0 else Run(), mode, values)
        cell = cell_of(tensor)
        if cell is None or any(isinstance(v, torch.Tensor) and cell_of(v) is cell for v, *_ in states.values()):
            raise Refused("a state that is the memory of the parameter")
        attach(tensor, Cell(leaf("param", "θ" + suffix, kind), layout.dims))
        with torch.no_grad():
            fresh = torch.tensor(rng.uniform(-0.9, 0.9, layout.shapes[i]))
        tensor.grad = attach(fresh, Cell(leaf("free", "g" + suffix, kind), layout.dims))
        _note(values, tensor, tensor.grad)
    stopped = _step(optimizer, mode)
    if stopped:
        return Run(tuple(path.made), error=stopped)
    last, _ = _states(optimizer, tensors, groups, own)
    new = set(last) - set(first)
    if new:
        raise Refused(f"the state `{min(new)}` begins after the first step")
    for name in first:
        if name not in last:
            raise Refused(f"the state `{name}` is gone after a step")
        found.later[name] = _required(last[name][0], name)
    found.later["θ"] = _required(a, "θ")
    _verify({n: (last[n][0], found.later[n]) for n in first} | {"θ": (a, found.later["θ"])}, values)
    found.first = {n: over_model(x) for n, x in found.first.items()}
    found.later = {n: over_model(x) for n, x in found.later.items()}
    for name, result in {**found.first, **found.later}.items():
        if any("#2" in x.name for x in result.walk() if x.op == "leaf"):
            raise Refused(f"`{name}` of one tensor depends on other tensors")
        if sum(1 for _ in result.walk()) > MOST_NODES:
            raise Refused("an expression with too many operations")
    hangs = {n for n, r in found.later.items() if n in found.types and not found.types[n].axes
             and leaf("state", n, found.types[n]) not in mode.data and holds_data(r, mode.data)}  # fmt: skip
    if hangs:
        raise Refused(f"`{min(hangs)}` is a number at first, and hangs on gradients later")
    for name, (value, *_) in first.items():  # a step count is exact in any format
        narrow = isinstance(value, torch.Tensor) and value.dtype in (torch.float32, torch.bfloat16, torch.float16)
        if narrow and found.later[name] is not node("add", leaf("state", name, found.types[name]), number(1)):
            mode.notes[f"keeps `{name}` in {str(value.dtype).removeprefix('torch.')}"] = None
    found.choices, found.notes = tuple(path.made), tuple(mode.notes)
    return found


def _started(state: Mapping[Any, Any]) -> _Kept:
    made = _Kept()
    for key, value in state.items():
        made[key] = value
    return made


def _step(optimizer: Any, mode: Tracing) -> str:
    """One step; what the class says if it refuses to take it."""
    try:
        with mode:
            optimizer.step()
    except (Refused, NeedsAxes):
        raise
    except (ValueError, RuntimeError, AssertionError, ArithmeticError) as error:
        return _said(error)
    except TypeError as error:
        if "closure" in str(error) or "argument" in str(error):
            raise Refused(f"`step` asks for more than gradients: {error}", _raised(error)) from None
        raise Refused(f"the step does not run on symbols: {error}", _raised(error)) from None
    except Exception as error:
        raise Refused(f"the step does not run on symbols: {_said(error)}", _raised(error)) from None
    return ""


def _said(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def _raised(error: BaseException) -> str:
    """The line of the optimizer in which an error came up."""
    found, here = "", error.__traceback__
    while here is not None:
        name = here.tb_frame.f_code.co_filename
        if "/runtime/lift/" not in name and ("/torch/" not in name or "/torch/optim/" in name):
            found = f"{name.split('/site-packages/')[-1]}, line {here.tb_lineno}"
        here = here.tb_next
    return found or place()


def _states(
    optimizer: Any, tensors: Sequence[Any], groups: Sequence[Mapping[str, Any]], own: Mapping[str, Any]
) -> tuple[dict[str, tuple[Any, Any, Any, str]], dict[str, tuple[Any, Any, Any, str]]]:
    """What each of the two tensors keeps: value, holder, key, and where."""
    shared: dict[str, tuple[Any, Any, Any, str]] = {}
    group = optimizer.param_groups[0]
    for key, value in _numbers(group).items():
        before = groups[0].get(key)
        if before is None or isinstance(before, bool) or exact(value) is not exact(before):
            shared[key] = (value, group, key, "group")
    for key, value in _numbers(vars(optimizer)).items():
        if key not in own or exact(value) is not exact(own[key]):
            shared[key] = (value, vars(optimizer), key, "self")
    both = []
    for tensor in tensors:
        found = dict(shared)
        for key, item in optimizer.state.get(tensor, {}).items():
            for name, value, holder, inner in _leaves(str(key), item):
                if isinstance(holder, tuple):
                    raise Refused(f"the state `{key}` is a tuple")
                where = "tensor" if isinstance(value, torch.Tensor) else "number"
                at = (optimizer.state[tensor], key) if holder is None else (holder, inner)
                found[name] = (value, *at, where)
        cells = [id(cell_of(v)) for v, *_ in found.values() if cell_of(v) is not None]
        if len(set(cells)) < len(cells):
            raise Refused("two states in the same memory")
        both.append(found)
    return both[0], both[1]


def _required(value: Any, name: str) -> Node:
    if isinstance(value, torch.Tensor):
        cell = cell_of(value)
        if cell is None:
            with torch.no_grad():
                flat = value.detach().reshape(-1)
                if flat.numel() and bool((flat == flat[0]).all()):
                    return exact(flat[0].item())
            raise Refused(f"the state `{name}` comes from nowhere")
        return cell.node
    return exact(value)


def _replace(name: str, value: Any, holder: Any, key: Any, run: Run, mode: Tracing, values: dict[Node, Any]) -> None:
    """A leaf in the place of a state."""
    if isinstance(value, torch.Tensor):
        cell = cell_of(value) or Cell(exact(0), ())
        single = value.numel() == 1 and cell.dims in ((), (None,))
        here = leaf("state", name, REAL if single else full_type(cell.dims))
        if single and holds_data(cell.node, mode.data):
            mode.data.add(here)
        if not single and cell.dims == ():
            raise Refused(f"the state `{name}` has a shape of its own")
        attach(value, Cell(here, cell.dims))
        _note(values, value)
    else:
        here = leaf("state", name, INT if isinstance(value, int) else REAL)
        bare = plain(value)
        holder[key] = Whole(bare, here) if isinstance(value, int) else Real(bare, here)
        if isinstance(holder, _Kept):
            dict.__setitem__(holder, key, holder[key])
        values[here] = bare
    run.types[name] = here.type


def _note(values: dict[Node, Any], *tensors: Any) -> None:
    for tensor in tensors:
        cell = cell_of(tensor)
        assert cell is not None
        with torch.no_grad():
            array = tensor.detach().clone().numpy().astype(float)
        shape = (
            [n for n, d in zip(array.shape, cell.dims, strict=False) if d is not None] if cell.dims != FULL else None
        )
        values[cell.node] = array if shape is None else array.reshape(shape)


def _verify(results: Mapping[str, tuple[Any, Node]], values: Mapping[Node, Any]) -> None:
    """That each expression gives what torch calculated; raises `Refused` where a row of `operations` is wrong."""
    for name, (value, expression) in results.items():
        with torch.no_grad():
            wanted = (
                value.detach().numpy().astype(float) if isinstance(value, torch.Tensor) else np.float64(plain(value))
            )
        known = {x: values[x] for x in expression.walk() if x.op == "leaf" and x in values}
        if any(x.op == "leaf" and x not in known for x in expression.walk()):
            continue
        try:
            with np.errstate(all="ignore"):
                found = np.asarray(evaluate(expression, known), dtype=float)
        except (
            KeyError,
            NotImplementedError,
            ValueError,
        ):  # sums over two tensors of other sizes
            continue
        if not np.isfinite(wanted).all() or not np.isfinite(found).all():
            continue
        size = wanted.size
        try:
            flat = np.broadcast_to(found, wanted.shape) if found.size != size else found.reshape(wanted.shape)
        except ValueError:
            raise Refused(f"the shape of `{name}` was not followed") from None
        if not np.allclose(flat, wanted, rtol=2e-5, atol=1e-7):
            worst = float(np.max(np.abs(flat - wanted)))
            raise Refused(f"`{name}` was not followed: its expression is off by {worst:.1e}")


def signature(cls: type) -> Iterator[tuple[str, Any, str]]:
    """Keywords of the constructor with defaults and annotations, without the parameters."""
    found = list(inspect.signature(cls).parameters.values())[1:]
    for p in found:
        if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
            continue
        if p.default is p.empty and p.name != "lr":
            raise Refused(f"the constructor asks for `{p.name}`")
        annotation = "" if p.annotation is p.empty else getattr(p.annotation, "__name__", "") + str(p.annotation)
        yield p.name, 1e-3 if p.default is p.empty else p.default, annotation


Namer = Callable[[str, "int | None"], str]
__all__ = ["IGNORED", "LAYOUTS", "NAMED", "Constructor", "Knob", "Layout", "Run", "Symbolic", "explore", "signature"]
