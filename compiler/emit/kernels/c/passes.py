"""C for the passes of a schedule: one function a pass, over all tensors of a group.

The tensors are cut into pieces, the pieces are gathered into units of about equal size, and threads take units in turn,
so that one large tensor and ten thousand small ones are shared out alike. What the functions of a module do:

    host_k      numbers for the whole group that are known before pass k, in double
    pass_k      pass k over one piece: load, compute in registers, store, add up
    finish_k    the sums of one tensor, from the sums of its pieces in their order
    model_k     the sums over all tensors, likewise
    close       the new values of states that are one number for a tensor, or one for a row
    shared      the new values of states that are one number for the group
    ahead_k     asks memory for the beginning of a piece that comes next, which no prefetcher of the processor foresees
    work_k      what a thread runs: units until there are none left; a tensor that is one piece goes through all passes
                at once, while it is in the cache
    dotopt_run  stage k of all of it, or every stage

Sums are made in double and put together in the order of the pieces, which depends on the sizes alone: the result does
not depend on the number of threads. The layout of `struct work` is mirrored by `dotopt.runtime.backends.cpu`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dotopt.compiler.emit.kernels.c import expression as c_expression
from dotopt.compiler.emit.kernels.c import storage as c_storage
from dotopt.compiler.emit.kernels.c.driver import driver, function
from dotopt.compiler.emit.kernels.c.precision import TYPES, Narrow
from dotopt.compiler.emit.kernels.c.sums import JOIN, START, Accumulator
from dotopt.compiler.emit.kernels.shared.facts import Facts
from dotopt.compiler.emit.kernels.shared.scope import HostSlots, Scope, group_key
from dotopt.compiler.ir import Node, leaf
from dotopt.compiler.schedule.passes import Buffer, Pass, Schedule
from dotopt.compiler.schedule.places import REDUCE, Place, Unsupported
from dotopt.compiler.schedule.storage import BLOCK

Key = tuple[str, object]

AHEAD = 256  # bytes of each array, until the processor has seen where it goes

HEAD = """\
#include <math.h>
#include <stdint.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-thread-jumps") /* which would make of a chain of selections what gcc cannot vectorise well */
#endif
"""

STRUCT = """\
struct work {
  int64_t tensors, pieces, units;
  void **data;                   /* [array][tensor] */
  const int64_t *shape;          /* [tensor][dimension] */
  const int32_t *tensor;         /* [piece] */
  const int64_t *start, *stop;   /* [piece] */
  const int64_t *first;          /* [tensor + 1] its pieces */
  const int64_t *unit;           /* [unit + 1] its pieces */
  const int64_t *row;            /* [tensor] its first row among all rows */
  double *given, *made;          /* numbers of the group: in, out */
  double *host, *sums, *totals, *rows;
  int64_t next;
  void (*parallel)(void (*)(void *), void *, unsigned, unsigned);
  int64_t threads;
};
"""


@dataclass(frozen=True)
class Module:
    """The text of a module and what its arrays mean: `dotopt.runtime.backends.cpu` fills them.

    `given`: ("hyper", name), ("time", "t"), ("scale", "grad"), ("shared", state), ("model", index of a sum),
    ("count", axes). Gradients are multiplied by the scale: -1 to climb, one over the loss scale in mixed precision.
    `made`: ("shared", state), ("model", index of a sum). `shape`: ("size", axes), ("native", axis).
    """

    text: str
    arrays: tuple[str, ...]  # of `data`: parameter, gradient, states, scratch
    given: tuple[Key, ...]
    made: tuple[Key, ...]
    shape: tuple[Key, ...]
    host: int
    sums: int
    totals: int
    rows: int
    by_rows: bool
    model: tuple[str, ...]  # how each sum over the model is put together: sum, amax, amin
    stages: int


def emit(schedule: Schedule, stored: Mapping[str, str], title: str = "") -> Module:
    """The C module of `schedule`; `stored` says how each array lies in memory, by name (see `compiler.storage`).

    Arithmetic is double where the parameter is fp64, else float. Raises `Unsupported` for what has no form in C.
    """
    return _Writer(Facts(schedule), stored).module(title)


@dataclass
class _Writer:
    facts: Facts
    stored: Mapping[str, str]
    given: dict[Key, int] = field(default_factory=dict)
    made: dict[Key, int] = field(default_factory=dict)
    shape: dict[Key, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.schedule, self.places = self.facts.schedule, self.facts.places
        self.real = "double" if self.stored[self.facts.param] == "fp64" else "float"
        self.narrow = Narrow(self.stored, self.facts.param)
        if self.facts.kept and self.narrow.blocks(self.facts.arrays):
            raise Unsupported("blocks of states do not end where rows do")
        self.facts.arrays = self.narrow.parts(self.facts.arrays)
        self.host = HostSlots("w->host[{}]")
        self.dimension(("size", self.places.axes))
        self.dimension(("size", self.facts.along))
        for slot in self.facts.models.values():
            self.given_slot(("model", slot))
            self.made.setdefault(("model", slot), len(self.made))
        for state in self.schedule.program.states:
            if state.shared and state.next is not None:
                self.made.setdefault(("shared", state.name), len(self.made))

    def given_slot(self, key: Key) -> str:
        """Where a number of the group stands."""
        return f"w->given[{self.given.setdefault(key, len(self.given))}]"

    def dimension(self, key: Key) -> str:
        """Where an extent of a tensor stands."""
        return f"w->shape[tensor*DIMENSIONS + {self.shape.setdefault(key, len(self.shape))}]"

    def source(self, here: Node, scope: Scope) -> str | None:
        """C for a value that is given or was made before; None for one that is to be computed."""
        match here.op, scope.place:
            case "leaf", Place.HOST:
                return self.given_slot(group_key(here))
            case "leaf", Place.TENSOR if here.role == "axis":
                return f"(double){self.dimension(('size', (here.name,)))}"
            case "leaf", (Place.TENSOR | Place.ROW) if here.role == "state":
                return self._load(here.name, "0" if scope.place is Place.TENSOR else "row")
            case "size", Place.HOST if here.attrs.axes == self.places.axes:
                return self.given_slot(("count", here.attrs.axes))
            case "size", Place.HOST:
                raise Unsupported(f"{here!r} counts something else than entries over the whole model")
            case "size", _:
                return f"(double){self.dimension(('size', here.attrs.axes))}"
            case "native", _:
                return f"(double){self.dimension(('native', here.attrs.axis))}"
            case op, Place.HOST if op in REDUCE:
                return self.given_slot(("model", self.facts.models[here]))
            case op, Place.TENSOR if op in REDUCE:
                return f"w->totals[tensor*TOTALS + {self.facts.totals[here]}]"
            case op, Place.ROW if op in REDUCE:
                return f"w->rows[(w->row[tensor] + row)*ROWS + {self.facts.rows[here]}]"
            case "fires", _:
                period, start = (scope.number(arg)[0] for arg in here.args)
                t = self.given_slot(("time", "t"))
                return f"(({t} >= {start}) & (fmod({t} - ({start}), {period}) == 0))"
            case _:
                return None

    def _pointer(self, array: str) -> str:
        return f"(({TYPES[self.stored[array]]} *)w->data[{self.facts.arrays.index(array)}*w->tensors + tensor])"

    def _load(self, array: str, index: str) -> str:
        return f"load_{self.stored[array]}({self._pointer(array)}[{index}])"

    # ---- functions ----

    def module(self, title: str) -> Module:
        """All of it."""
        stages = len(self.schedule.passes)
        passes = [self._pass(index, one) for index, one in enumerate(self.schedule.passes)]
        aheads = [self._ahead(index, one) for index, one in enumerate(self.schedule.passes)]
        finishes = [self._finish(index) for index in range(stages)]
        models = [self._model(index) for index in range(stages)]
        close, shared = self._close(), self._shared()
        hosts = [self._host(index) for index in range(stages)]
        if any(self.places.stage(here) >= stages for here in self.host.slots):
            raise Unsupported("a number of the group is known only after the last pass")
        fused = stages > 1 and not self.schedule.routines and not self.facts.models
        every = (*hosts, *passes, *aheads, *finishes, *models, close, shared)
        functions = [text for text in every if text.count("\n") > 2]
        present = {text.split("(")[0].split()[-1] for text in functions}
        defines = {
            "DIMENSIONS": len(self.shape),
            "SUMS": len(self.facts.sums),
            "TOTALS": len(self.facts.totals),
            "ROWS": len(self.facts.rows),
        }
        parts = [
            *([f"/* {title} */"] if title else []),
            HEAD,
            "#define BLOCK 512",
            "\n".join(f"#define {name} {max(value, 1)}" for name, value in defines.items()),
            c_expression.PRELUDE + c_storage.PRELUDE + self.narrow.prelude,
            STRUCT,
            *functions,
            driver(stages, fused, present),
        ]
        return Module(
            "\n".join(parts),
            tuple(self.facts.arrays),
            tuple(self.given),
            tuple(self.made),
            tuple(self.shape),
            len(self.host.slots),
            len(self.facts.sums),
            len(self.facts.totals),
            len(self.facts.rows),
            bool(self.facts.kept),
            tuple(total.op for total in self.facts.models),
            stages,
        )

    def _scope(self, place: Place, real: str, outer: Scope | HostSlots | None) -> Scope:
        taken = outer.taken if isinstance(outer, Scope) else set()
        return Scope(c_expression, self.facts, self.source, place, real, outer, taken)

    def _pass(self, index: int, one: Pass) -> str:
        if not one:
            return ""
        tensor = self._scope(Place.TENSOR, "double", self.host)
        row = self._scope(Place.ROW, "double", tensor) if self.facts.kept else tensor
        entry = self._scope(Place.ELEMENT, self.real, row)
        pointers, entry.held = self._loads(one, entry)
        if any(buffer.kind == "gradient" for buffer in one.loads):
            tensor.lines.append(f"const {self.real} scale = ({self.real}){self.given_slot(('scale', 'grad'))};")
            entry.taken.add("scale")
        written = [buffer.name for buffer, _ in one.stores]
        if self.facts.param in written and self.narrow.rounding == "stochastic":
            tensor.lines += self.narrow.key(self.given_slot(("time", "t")))
        body_stores: list[str] = []
        for buffer, value in one.stores:
            body_stores += self.narrow.store(buffer.name, entry.number(value)[0])
        totals = [
            Accumulator(total, entry.number(total.args[0])[0], f"s{k}", self.real) for k, total in enumerate(one.sums)
        ]
        for accumulator in totals:
            entry.taken.add(accumulator.name)
        first, last = ("from", "to") if self.facts.kept else ("start", "stop")
        body = [*entry.lines, *(a.update for a in totals), *body_stores]
        loop = [
            f"#pragma omp simd{''.join(a.clause for a in totals)}",
            f"for (int64_t i = {first}; i < {last}; i++) {{",
            *("  " + line for line in body),
            "}",
        ]
        before = self.narrow.before([buffer.name for buffer in one.loads], written)
        if totals or before:
            step = BLOCK if before else "BLOCK"
            loop[1] = "for (int64_t i = block; i < end; i++) {"
            inner = [*(a.block for a in totals), *before, *loop, *(a.end for a in totals), *self.narrow.after(written)]
            loop = [
                f"for (int64_t block = {first}; block < {last}; block += {step}) {{",
                f"  const int64_t end = block + {step} < {last} ? block + {step} : {last};",
                *("  " + line for line in inner),
                "}",
            ]
        lines = ["const int64_t tensor = w->tensor[piece], start = w->start[piece], stop = w->stop[piece];", *pointers]
        wide = [a for a in totals if a.total in self.facts.sums]
        if self.facts.kept:
            lines += [
                f"const int64_t cols = {self.dimension(('size', self.facts.along))};",
                *tensor.lines,
                *(f"double t{a.name} = {a.start};" for a in wide),
                "for (int64_t row = cols ? start/cols : 0; row*cols < stop; row++) {",
                "  const int64_t from = row*cols, to = from + cols;",
                *("  " + line for line in [*row.lines, *(a.declaration for a in totals), *loop]),
            ]
            for a in totals:
                if a.total in self.facts.rows:
                    lines.append(f"  w->rows[(w->row[tensor] + row)*ROWS + {self.facts.rows[a.total]}] = {a.name};")
                else:
                    lines.append(f"  t{a.name} = {JOIN[a.total.op].format('t' + a.name, a.name)};")
            lines.append("}")
            lines += [f"w->sums[piece*SUMS + {self.facts.sums[a.total]}] = t{a.name};" for a in wide]
        else:
            lines += [
                *tensor.lines,
                *(a.declaration for a in totals),
                *loop,
                *(f"w->sums[piece*SUMS + {self.facts.sums[a.total]}] = {a.name};" for a in totals),
            ]
        return function(f"static void pass_{index}(struct work *w, int64_t piece)", lines)

    def _ahead(self, index: int, one: Pass) -> str:
        if not one:
            return ""
        lines = ["const int64_t tensor = w->tensor[piece], start = w->start[piece];"]
        names = [buffer.name for buffer in one.loads]
        at = self.narrow.at
        lines += [f"const char *{at(name)} = (const char *)({self._pointer(name)} + start);" for name in names]
        lines += [f"for (int64_t i = 0; i < {AHEAD}; i += 64) {{"]
        lines += [*(f"  __builtin_prefetch({at(name)} + i);" for name in names), "}"]
        return function(f"static void ahead_{index}(struct work *w, int64_t piece)", lines)

    def _loads(self, one: Pass, entry: Scope) -> tuple[list[str], dict[Node, str]]:
        touched = dict.fromkeys([*(b.name for b in one.loads), *(b.name for b, _ in one.stores)])
        arrays = self.narrow.parts(touched)
        at = self.narrow.at
        pointers = [f"{TYPES[self.stored[name]]} *restrict {at(name)} = {self._pointer(name)};" for name in arrays]
        entry.taken.update(map(at, arrays))
        entry.taken.update(f"{self.narrow.base(name)}_{word}" for name in touched for word in ("block", "key"))
        entry.taken |= {"whole", "high"}
        held = dict(one.held.items())
        taken = {buffer.name for buffer in held.values()}
        held |= {buffer.node: buffer for buffer in one.loads if buffer.name not in taken}
        return pointers, {value: self._loaded(b) for value, b in held.items()}

    def _loaded(self, buffer: Buffer) -> str:
        text = self.narrow.load(buffer.name)
        return f"scale*{text}" if buffer.kind == "gradient" else text

    def _finish(self, index: int) -> str:
        """Totals of one tensor after pass `index`: of entries by pieces, of rows by a loop over them."""
        lines: list[str] = []
        for total in self.schedule.passes[index].sums:
            if total in self.facts.sums:
                slot = self.facts.sums[total]
                lines += [
                    f"double s{slot} = {START[total.op]};",
                    f"for (int64_t p = w->first[tensor]; p < w->first[tensor + 1]; p++) "
                    f"s{slot} = {JOIN[total.op].format(f's{slot}', f'w->sums[p*SUMS + {slot}]')};",
                    f"w->totals[tensor*TOTALS + {self.facts.totals[total]}] = s{slot};",
                ]
        for total, slot in self.facts.totals.items():
            if self.places(total.args[0]) is Place.ROW and self.places.stage(total) == index + 1:
                lines += self._over_rows(total, slot)
        return function(f"static void finish_{index}(struct work *w, int64_t tensor)", lines)

    def _over_rows(self, total: Node, slot: int) -> list[str]:
        tensor = self._scope(Place.TENSOR, "double", self.host)
        row = self._scope(Place.ROW, "double", tensor)
        value = row.number(total.args[0])[0]
        return [
            "{",
            *("  " + line for line in tensor.lines),
            f"  double y = {START[total.op]};",
            f"  for (int64_t row = 0; row < {self._row_count()}; row++) {{",
            *("    " + line for line in row.lines),
            f"    y = {JOIN[total.op].format('y', value)};",
            "  }",
            f"  w->totals[tensor*TOTALS + {slot}] = y;",
            "}",
        ]

    def _row_count(self) -> str:
        return self.dimension(("size", self.facts.kept))

    def _model(self, index: int) -> str:
        """Sums over all tensors that are known after pass `index`."""
        lines: list[str] = []
        for total, slot in self.facts.models.items():
            if self.places.stage(total) != index + 1:
                continue
            tensor = self._scope(Place.TENSOR, "double", self.host)
            entries = self.places(total.args[0]) is Place.ELEMENT
            value = (
                f"w->totals[tensor*TOTALS + {self.facts.totals[total]}]" if entries else tensor.number(total.args[0])[0]
            )
            lines += [
                "{",
                f"  double y = {START[total.op]};",
                "  for (int64_t tensor = 0; tensor < w->tensors; tensor++) {",
                *("    " + line for line in tensor.lines),
                f"    y = {JOIN[total.op].format('y', value)};",
                "  }",
                f"  w->made[{self.made[('model', slot)]}] = y;",
                "}",
            ]
        return function(f"static void model_{index}(struct work *w)", lines)

    def _close(self) -> str:
        tensor = self._scope(Place.TENSOR, "double", self.host)
        row = self._scope(Place.ROW, "double", tensor)
        ends: list[str] = []
        row_ends: list[str] = []
        for state in self.facts.small:
            if state.next is None or state.next is leaf("state", state.name, state.type):
                continue
            if state.type.axes and state.type.axes != self.facts.kept:
                raise Unsupported(f"the state {state.name} is kept along other axes than the rows")
            scope, into, at = (row, row_ends, "row") if state.type.axes else (tensor, ends, "0")
            into.append(
                f"{self._pointer(state.name)}[{at}] = store_{self.stored[state.name]}({scope.number(state.next)[0]});"
            )
        lines = list(tensor.lines)
        if row_ends:
            lines += [
                f"for (int64_t row = 0; row < {self._row_count()}; row++) {{",
                *("  " + line for line in [*row.lines, *row_ends]),
                "}",
            ]
        return function("static void close(struct work *w, int64_t tensor)", lines + ends)

    def _shared(self) -> str:
        host = self._scope(Place.HOST, "double", None)
        ends = []
        for state in self.schedule.program.states:
            if state.shared and state.next is not None:
                ends.append(f"w->made[{self.made[('shared', state.name)]}] = {host.number(state.next)[0]};")
        return function("static void shared(struct work *w)", host.lines + ends)

    def _host(self, index: int) -> str:
        """Numbers of the group that are first known before pass `index`."""
        host = self._scope(Place.HOST, "double", None)
        ends = [
            f"w->host[{slot}] = {host.number(here)[0]};"
            for here, slot in list(self.host.slots.items())
            if self.places.stage(here) == index
        ]
        return function(f"static void host_{index}(struct work *w)", host.lines + ends)
