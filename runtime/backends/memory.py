"""Where tensors lie, looked at before every step: kernels write to addresses, and whoever owns a tensor may change it.

    watch = Watch([params, *states])     remembers address, dtype, device, sizes, strides and storage of each tensor
    watch.changed()                      whether one of them is not as it was
    watch.take(gradients, into)          gradients that lie like their parameters, and their addresses
    Held(dictionaries).changed()         whether dictionaries hold other objects than they did

A step of 400 tensors asks ten thousand such questions, which in Python would take ten times as long as the step. So
they are asked in C, through the functions that torch exports for compiled models (`aoti_torch_get_sizes` and the like).
They take the address of a C++ tensor, which stands inside the Python object; at which place is found by looking for a
known one. Where torch has no such functions, or this does not come out right, Python asks.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from operator import is_
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dotopt.runtime.backends import build
from dotopt.runtime.backends.layout import Changed

Addresses = npt.NDArray[np.uint64]

TEXT = """\
#include <stddef.h>
#include <stdint.h>
typedef int32_t ask(void *tensor, void *answer);
struct torch { ask *data, *dtype, *device, *dims, *offset, *bytes, *sizes, *strides; };
/* `bytes` of storage; sizes and strides stand in `extents` from `first` on, `length` bytes are the tensor's own */
struct where { int64_t at, dtype, device, dims, offset, bytes, first, length; };
struct now { void *at; int32_t dtype, device; int64_t dims, offset, bytes, *sizes, *strides; };

static int found(const struct torch *torch, void *tensor, struct now *now) {
  return !(torch->data(tensor, &now->at) | torch->dtype(tensor, &now->dtype) | torch->device(tensor, &now->device) |
           torch->dims(tensor, &now->dims) | torch->offset(tensor, &now->offset) | torch->bytes(tensor, &now->bytes) |
           torch->sizes(tensor, &now->sizes) | torch->strides(tensor, &now->strides));
}

static int equal(int64_t count, const int64_t *a, const int64_t *b) {
  for (int64_t k = 0; k < count; k++) if (a[k] != b[k]) return 0;
  return 1;
}

/* Notes where the tensors lie; the number of those of which torch says it. */
int64_t dotopt_look(const struct torch *torch, int64_t count, void **tensors, struct where *where, int64_t *extents) {
  for (int64_t k = 0; k < count; k++) {
    struct now now = {0};
    struct where *w = &where[k];
    if (!found(torch, tensors[k], &now) || now.dims != w->dims) return k;
    w->at = (int64_t)now.at, w->dtype = now.dtype, w->device = now.device, w->offset = now.offset;
    w->bytes = now.bytes;
    for (int64_t d = 0; d < now.dims; d++) {
      extents[w->first + d] = now.sizes[d];
      extents[w->first + now.dims + d] = now.strides[d];
    }
  }
  return count;
}

/* How many tensors from the first on lie as noted. */
int64_t dotopt_same(const struct torch *torch, int64_t count, void **tensors, const struct where *where,
                    const int64_t *extents) {
  for (int64_t k = 0; k < count; k++) {
    struct now now = {0};
    const struct where *w = &where[k];
    const int64_t *sizes = extents + w->first;
    if (!found(torch, tensors[k], &now) || (int64_t)now.at != w->at || now.dtype != w->dtype ||
        now.device != w->device || now.dims != w->dims || now.offset != w->offset || now.bytes != w->bytes ||
        !equal(now.dims, now.sizes, sizes) || !equal(now.dims, now.strides, sizes + now.dims))
      return k;
  }
  return count;
}

/* The first gradient from `begin` on that is not dense, not like its parameter, or not apart from what a step writes
   of the same tensor; `count` if there is none. The parameters are the first `count` of `where`, which has `columns`
   times as many. `gradients` is a list of Python, whose objects begin with a count and their type. */
int64_t dotopt_take(const struct torch *torch, int64_t begin, int64_t count, void *gradients, int64_t columns,
                    const struct where *where, const int64_t *extents, void **into, void *(*item)(void *, ptrdiff_t),
                    const void *tensor, int64_t place) {
  for (int64_t k = begin; k < count; k++) {
    struct now now = {0};
    const struct where *w = &where[k];
    char *object = item(gradients, k);
    if (((void **)object)[1] != tensor || !found(torch, object + place, &now) || now.dtype != w->dtype ||
        now.device != w->device || now.dims != w->dims || !equal(now.dims, now.sizes, extents + w->first))
      return k;
    int64_t entries = 1;
    for (int64_t d = now.dims - 1; d >= 0; d--) {
      if (now.sizes[d] != 1 && now.strides[d] != entries) return k;
      entries *= now.sizes[d];
    }
    if (!now.at || (entries && now.offset*(w->length/entries) + w->length > now.bytes)) return k;
    const int64_t from = (int64_t)now.at, to = from + w->length;
    for (int64_t c = 0; c < columns; c++) {
      const struct where *other = &where[c*count + k];
      if (from < other->at + other->length && other->at < to) return k;
    }
    into[k] = now.at;
  }
  return count;
}

/* Whether dictionary k holds the objects first[k] to first[k + 1], in this order and no others. */
int64_t dotopt_holds(int (*next)(void *, ptrdiff_t *, void **, void **), int64_t count, void **dictionaries,
                     const int64_t *first, void **objects) {
  for (int64_t k = 0; k < count; k++) {
    ptrdiff_t place = 0;
    void *key, *value;
    int64_t n = first[k];
    while (next(dictionaries[k], &place, &key, &value))
      if (n == first[k + 1] || objects[n++] != value) return 0;
    if (n != first[k + 1]) return 0;
  }
  return 1;
}

/* Clocks: numbers of 4 or 8 bytes that are equal, written and compared. */
void dotopt_clocks(int64_t count, void **at, int64_t bytes, double value) {
  for (int64_t k = 0; k < count; k++)
    if (bytes == 8) *(double *)at[k] = value; else *(float *)at[k] = (float)value;
}
int64_t dotopt_ticked(int64_t count, void **at, int64_t bytes, double value) {
  for (int64_t k = 0; k < count; k++)
    if (bytes == 8 ? *(double *)at[k] != value : *(float *)at[k] != (float)value) return 0;
  return 1;
}
"""

WORDS = ("look", "same", "take", "holds", "clocks", "ticked")

WHERE = 8  # words of `struct where`
QUESTIONS = ("data_ptr", "dtype", "device_type", "dim", "storage_offset", "storage_size", "sizes", "strides")


@cache
def library() -> Any:
    """The functions above; None without a C compiler."""
    try:
        built = build.load(TEXT, *(f"dotopt_{word}" for word in WORDS))
    except build.BuildError:
        return None
    made = ctypes.PyDLL(built._name, handle=built._handle)  # its functions look at Python's objects
    pointer, word = ctypes.c_void_p, ctypes.c_int64
    made.dotopt_look.argtypes = made.dotopt_same.argtypes = (pointer, word, pointer, pointer, pointer)
    made.dotopt_take.argtypes = (pointer, word, word, pointer, word, *5 * (pointer,), word)
    made.dotopt_holds.argtypes = (pointer, word, pointer, pointer, pointer)
    made.dotopt_clocks.argtypes = made.dotopt_ticked.argtypes = (word, pointer, word, ctypes.c_double)
    for function in (getattr(made, f"dotopt_{name}") for name in WORDS):
        function.restype = word
    made.dotopt_clocks.restype = None
    return made


def python(name: str) -> int:
    """The address of a function of Python's stable interface."""
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


class Interface:
    """How C asks torch: its functions, and at which byte of a Python tensor the C++ one stands."""

    def __init__(self, functions: Sequence[int], place: int) -> None:
        self.table = (ctypes.c_void_p * len(functions))(*functions)
        self.address = ctypes.addressof(self.table)
        self.place = place
        self.item = python("PyList_GetItem")

    def tensors(self, tensors: Sequence[Tensor]) -> Addresses:
        """The addresses of the C++ tensors, valid as long as the Python ones live."""
        return np.fromiter(map(id, tensors), np.uint64, len(tensors)) + np.uint64(self.place)


@cache
def interface() -> Interface | None:
    """How C asks torch; None where it cannot, or where the answers are not those that Python gets."""
    names = ("libtorch_cpu.so", "libtorch_cpu.dylib", "torch_cpu.dll")
    paths = [path for name in names if (path := Path(torch.__file__).parent / "lib" / name).exists()]
    place = _place()
    if library() is None or not paths or place is None:
        return None
    try:
        exported = ctypes.CDLL(str(paths[0]))
        functions = [ctypes.cast(exported[f"aoti_torch_get_{name}"], ctypes.c_void_p).value for name in QUESTIONS]
    except (OSError, AttributeError):
        return None
    made = Interface([function or 0 for function in functions], place)
    samples = [torch.zeros(7, 5), torch.zeros(9, dtype=torch.float64)[3:5], torch.zeros(2, 3, 4).mT, torch.zeros(())]
    watch = _Asked(samples, made)
    return made if watch.facts == [seen(sample) for sample in samples] else None


def _place() -> int | None:
    """The byte of a Python tensor at which the pointer to its C++ tensor stands: the same in several of them."""
    samples = [torch.zeros(2), torch.nn.Parameter(torch.zeros(3)), torch.zeros(4)[1:]]
    width = ctypes.sizeof(ctypes.c_void_p)
    for place in range(object.__basicsize__, Tensor.__basicsize__ - width + 1, width):
        words = [ctypes.c_void_p.from_address(id(sample) + place).value for sample in samples]
        if words == [getattr(sample, "_cdata", None) for sample in samples]:
            return place
    return None


def seen(tensor: Tensor) -> tuple[Any, ...]:
    """What is looked at: address, sizes, strides, offset and bytes of the storage, dtype, device."""
    storage = tensor.untyped_storage()
    sizes, strides = tuple(tensor.shape), tensor.stride()
    return tensor.data_ptr(), sizes, strides, tensor.storage_offset(), storage.nbytes(), tensor.dtype, tensor.device


class _Asked:
    """What C found of some tensors."""

    def __init__(self, tensors: Sequence[Tensor], torch_: Interface) -> None:
        self.tensors, self.torch = tensors, torch_
        self.addresses = torch_.tensors(tensors)
        self.where = np.zeros((len(tensors), WHERE), dtype=np.int64)
        dims = [tensor.ndim for tensor in tensors]
        self.where[:, 3] = dims
        self.where[:, 6] = np.cumsum([0, *(2 * n for n in dims)])[:-1]
        self.where[:, 7] = [tensor.numel() * tensor.element_size() for tensor in tensors]
        self.extents = np.zeros(2 * sum(dims) + 1, dtype=np.int64)
        self.arguments = (
            torch_.address,
            len(tensors),
            *(array.ctypes.data for array in (self.addresses, self.where, self.extents)),
        )
        self.known: bool = library().dotopt_look(*self.arguments) == len(tensors)

    @property
    def facts(self) -> list[tuple[Any, ...]]:
        """The same as `seen` says, of tensors on the host."""
        found = []
        for row, tensor in zip(self.where.tolist(), self.tensors, strict=True):
            at, _, _, dims, offset, size, first, _ = row
            extents = self.extents[first : first + 2 * dims].tolist()
            sizes, strides = tuple(extents[:dims]), tuple(extents[dims:])
            found.append((at, sizes, strides, offset, size, tensor.dtype, tensor.device))
        return found


class Watch:
    """Columns of tensors, the parameters first: whether each still lies where it lay, and as it lay."""

    def __init__(self, columns: Sequence[Sequence[Tensor]]) -> None:
        self.columns, self.count = len(columns), len(columns[0])
        self.tensors = [tensor for column in columns for tensor in column]
        asking = interface()
        self.asked = None if asking is None else _Asked(self.tensors, asking)
        if self.asked is not None and not self.asked.known:
            self.asked = None
        self.seen = list(map(seen, self.tensors)) if self.asked is None else []

    def changed(self) -> bool:
        """Whether a tensor has other memory, sizes, strides, dtype or storage by now."""
        if self.asked is None:
            return any(seen(tensor) != before for tensor, before in zip(self.tensors, self.seen, strict=True))
        same: int = library().dotopt_same(*self.asked.arguments)
        return same != len(self.tensors)

    def take(self, gradients: Sequence[Any], into: Addresses) -> list[Tensor]:
        """The gradients of the first column in a form that kernels read, their addresses in `into`.

        Those that are not dense, or lie in memory that the step writes, are copied. Raises `Changed` if there is none,
        RuntimeError or TypeError for one that does not lie like its parameter.
        """
        kept = list(gradients)
        try:
            odd = any(map(Tensor.is_neg, kept))
        except TypeError:
            raise Changed from None
        if odd or self.asked is None:
            kept = [self._dense(gradient, place) for place, gradient in enumerate(kept)]
        if self.asked is None:
            into[:] = list(map(Tensor.data_ptr, kept))
            return kept
        asked, place = self.asked, 0
        while True:
            place = library().dotopt_take(
                asked.torch.address, place, self.count, id(kept), self.columns, *asked.arguments[3:],
                into.ctypes.data, asked.torch.item, id(Tensor), asked.torch.place,
            )  # fmt: skip
            if place == self.count:
                return kept
            kept[place] = self._dense(kept[place], place, copied=True)

    def _dense(self, gradient: Any, place: int, copied: bool = False) -> Tensor:
        """A gradient as kernels read it."""
        mine = [self.tensors[column * self.count + place] for column in range(self.columns)]
        if gradient is None:
            raise Changed
        problem = misfit(gradient, mine[0])
        if problem is not None:
            raise problem
        found: Tensor = gradient.as_subclass(Tensor).resolve_neg().contiguous()
        if any(overlap(found, other) for other in mine) or (copied and found is gradient):
            found = found.clone()
        return found


def misfit(gradient: Tensor, p: Tensor) -> Exception | None:
    """Why a gradient cannot be that of a parameter."""
    if gradient.layout is not torch.strided:
        return RuntimeError("this optimizer does not take sparse gradients, and a parameter has one")
    if gradient.dtype != p.dtype:
        return TypeError(f"a gradient is {gradient.dtype}, its parameter {p.dtype}: convert it before the step")
    if gradient.device != p.device:
        return RuntimeError(f"a gradient is on {gradient.device}, its parameter on {p.device}")
    if gradient.shape != p.shape:
        shapes = f"{tuple(gradient.shape)}, its parameter {tuple(p.shape)}"
        return RuntimeError(f"a gradient has shape {shapes}: a parameter or its gradient was resized")
    if not owned(gradient):
        return RuntimeError("a gradient has no memory of its own here: its storage was freed, or it stands for others")
    return None


def owned(tensor: Tensor) -> bool:
    """Whether a tensor has memory, and all of it is in its storage: false for those that stand for others."""
    if not tensor.numel():
        return True
    try:
        size = tensor.untyped_storage().nbytes()
        return tensor.data_ptr() != 0 and size >= end(tensor)
    except (RuntimeError, NotImplementedError):
        return False


def end(tensor: Tensor) -> int:
    """The bytes of its storage up to the last entry of a tensor."""
    reach = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return int(tensor.storage_offset() + reach + 1) * tensor.element_size()


def overlap(one: Tensor, other: Tensor) -> bool:
    """Whether two dense tensors share memory."""
    a, b = one.data_ptr(), other.data_ptr()
    return a < b + other.numel() * other.element_size() and b < a + one.numel() * one.element_size()


# ---- dictionaries


class Held:
    """Dictionaries and what is in them: whether each still holds these very objects."""

    def __init__(self, dictionaries: Sequence[Mapping[Any, Any]]) -> None:
        self.dictionaries = dictionaries
        self.objects = list(itertools.chain.from_iterable(each.values() for each in dictionaries))
        self.sizes = list(map(len, dictionaries))
        self.call: Any = None
        if library() is not None and all(isinstance(each, dict) for each in dictionaries):
            self.arrays = (
                np.fromiter(map(id, dictionaries), np.uint64, len(dictionaries)),
                np.cumsum([0, *self.sizes]).astype(np.int64),
                np.fromiter(map(id, self.objects), np.uint64, len(self.objects)),
            )
            places = [array.ctypes.data for array in self.arrays]
            holds, following = library().dotopt_holds, python("PyDict_Next")
            self.call = lambda: holds(following, len(dictionaries), *places)

    def changed(self) -> bool:
        """Whether an entry was replaced, added or removed."""
        if self.call is not None:
            return not self.call()
        values = itertools.chain.from_iterable(each.values() for each in self.dictionaries)
        return list(map(len, self.dictionaries)) != self.sizes or not all(map(is_, values, self.objects))


# ---- after a step


def written(params: Sequence[Tensor]) -> None:
    """Tell autograd that the parameters were written, so that graphs which need the old values notice."""
    try:
        torch.autograd.graph.increment_version(params)
    except (AttributeError, TypeError):  # an older torch takes one tensor at a time
        for p in params:
            torch.autograd.graph.increment_version(p)
