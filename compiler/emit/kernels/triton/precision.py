"""Arrays in fewer bits than the arithmetic has, in Triton: states of 8 bits in blocks, parameters in two words of 16.

A pass with states of 8 bits takes a tile of blocks at a time: row `r` is a block of 256 entries, so that the scale of a
block is a number a row. Codes are decoded where they are loaded, and encoded where they are stored:

    v = decode_uint8(tl.load(v_at + i), tl.load(v_scale_at + r)[:, None])
    v_codes, v_scale = encode_uint8(v_next)

`c_precision` is the same in C; both, and `dotopt.runtime.quantise`, give the same bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dotopt.compiler.emit.kernels.c.precision import Narrow
from dotopt.compiler.emit.kernels.triton.loops import indented, pointer_lines
from dotopt.compiler.schedule.storage import BLOCK, FORMATS

TYPES = {
    "fp32": "tl.float32", "fp64": "tl.float64", "bf16": "tl.bfloat16", "fp16": "tl.float16", "int8": "tl.int8",
    "uint8": "tl.uint8", "sqrt8": "tl.uint8", "log8": "tl.uint8", "fp8": "tl.uint8", "int16": "tl.int16",
    "int32": "tl.int32",
}  # fmt: skip


@dataclass(frozen=True)
class NarrowTile(Narrow):
    """The same facts, for Triton. `kind` is the type of the arithmetic."""

    kind: str = "tl.float32"

    def type(self, array: str) -> str:
        """What a pointer to an array points to; words of 16 bits that are taken apart are seen as integers."""
        if array == self.param and self.rounding in ("low_word", "stochastic"):
            return "tl.int16"
        return TYPES[self.stored[array]]

    def tile(self, name: str, masked: bool) -> str:
        """Entry `i` of an array, as a number."""
        mask = ", mask=inside, other=0.0" if masked else ""
        entry = f"tl.load({self.at(name)} + i{mask})"
        if self.blocks([name]):
            there = ", mask=there, other=0.0" if masked else ""
            scale = f"tl.load({self.at(name + ' scale')} + r{there})[:, None]"
            return f"decode_{self.stored[name]}({entry}, {scale}).to({self.kind})"
        more = f"tl.load({self.at(name + ' beside')} + i{mask})"
        match self.rounding if name == self.param else None:
            case "kahan":
                return f"{entry}.to({self.kind}) + {more}.to({self.kind})"
            case "low_word":
                return f"join({entry.replace('0.0', '0')}, {more.replace('0.0', '0')})"
            case "stochastic":
                return f"join({entry.replace('0.0', '0')}, 0)"
        return f"{entry}.to({self.kind})"

    def written(self, name: str, text: str, masked: bool) -> list[str]:
        """The statements that give entry `i` of an array a value."""
        mask = ", mask=inside" if masked else ""
        pointer, more, own = self.at(name), self.at(name + " beside"), self.base(name)
        if self.blocks([name]):
            value = f"tl.cast({text}, tl.float32)"
            value = f"tl.where(inside, {value}, 0.0)" if masked else value
            return [
                f"{own}_codes, {own}_scale = encode_{self.stored[name]}({value})",
                f"tl.store({pointer} + i, {own}_codes{mask})",
                f"tl.store({self.at(name + ' scale')} + r, {own}_scale{', mask=there' if masked else ''})",
            ]
        match self.rounding if name == self.param else None:
            case "kahan":
                kind = TYPES[self.stored[name]]
                return [
                    f"whole = {text}",
                    f"high = whole.to({kind})",
                    f"tl.store({pointer} + i, high{mask})",
                    f"tl.store({more} + i, (whole - high.to(tl.float32)).to({kind}){mask})",
                ]
            case "low_word":
                return [
                    f"high, low = apart({text})",
                    f"tl.store({pointer} + i, high{mask})",
                    f"tl.store({more} + i, low{mask})",
                ]
            case "stochastic":
                return [f"tl.store({pointer} + i, round_by_chance({text}, {own}_key + i.to(tl.uint32)){mask})"]
        return [f"tl.store({pointer} + i, {text}{mask})"]

    def begin(self, t: str) -> list[str]:
        """What the noise of a tensor starts from in a step."""
        if self.rounding != "stochastic":
            return []
        key = f"tl.load({self.at(self.param + ' beside')}).to(tl.uint32, bitcast=True)"
        return [f"{self.base(self.param)}_key = mix({key} + {t}.to(tl.int64).to(tl.uint32) * 0x9E3779B9)"]

    @property
    def functions(self) -> list[str]:
        """The functions that these arrays need."""
        used = {format for format in self.stored.values() if format in FORMATS and FORMATS[format].blocks}
        parts = [BLOCKS] if used else []
        parts += [DYNAMIC] if used & {"int8", "uint8", "sqrt8"} else []
        for format in CODES:
            if format in used:
                last = FORMATS[format].last
                assert last is not None
                parts.append(CODES[format].replace("PER_LAST", repr(float(1 / last))))
        return parts + ([WORDS] if self.rounding else [])


def by_tiles(pointers: Iterable[tuple[str, str]], size: str, entry: Sequence[str], masked: bool) -> list[str]:
    """The statements `entry` for all entries of a piece of a tensor with `size` entries, some blocks at a time."""
    body = [
        f"r = (start + block) // {BLOCK} + tl.arange(0, BLOCK // {BLOCK})",
        f"i = r[:, None] * {BLOCK} + tl.arange(0, {BLOCK})[None, :]",
        *(["inside = i < size", f"there = r * {BLOCK} < size"] if masked else []),
        *entry,
    ]
    head = [*pointer_lines(dict(pointers), masked), *([f"size = {size}"] if masked else [])]
    return [*head, "for block in range(0, PIECE, BLOCK):", *indented(body)]


BLOCKS = """\
@triton.jit
def scaled(x, per_last):
    top = tl.max(x.to(tl.int32, bitcast=True) & 0x7FFFFFFF, axis=1)  # as bits, among which a NaN is the largest
    scale = top.to(tl.float32, bitcast=True) * per_last
    per = tl.where(scale >= 1.1754943508222875e-38, tl.div_rn(1.0, scale), 0.0)
    return x * per[:, None], scale"""

DYNAMIC = """\
@triton.jit
def dynamic(n):
    bits = n.to(tl.int32, bitcast=True)
    p = (bits & 0x7F800000).to(tl.float32, bitcast=True)
    middle = (0.4375 - 0.75 * p).to(tl.int32, bitcast=True) ^ ((bits >> 31) << 31)
    return p * (p * (0.875 * n + middle.to(tl.float32, bitcast=True)))


@triton.jit
def number(x):
    level = ((tl.maximum(x, 0.125).to(tl.int32, bitcast=True) >> 23) - 124) * 171 >> 9
    middle = (((level + 126) << 23) | 0x400000).to(tl.float32, bitcast=True)
    down = ((127 - 2 * level) << 23).to(tl.float32, bitcast=True)
    return ((x * down + middle) * 1.1428571428571428).to(tl.int32)"""

CODES = {
    "int8": """\
@triton.jit
def decode_int8(codes, scale):
    return dynamic(codes.to(tl.float32)) * scale


@triton.jit
def encode_int8(values):
    x, scale = scaled(values, PER_LAST)
    n = number(tl.abs(x))
    return tl.where(x < 0, -n, n).to(tl.int8), scale""",
    "uint8": """\
@triton.jit
def decode_uint8(codes, scale):
    return dynamic(codes.to(tl.float32)) * scale


@triton.jit
def encode_uint8(values):
    x, scale = scaled(values, PER_LAST)
    return number(x).to(tl.uint8), scale""",
    "sqrt8": """\
@triton.jit
def decode_sqrt8(codes, scale):
    root = dynamic(codes.to(tl.float32)) * scale
    return root * root


@triton.jit
def encode_sqrt8(values):
    x, scale = scaled(tl.sqrt_rn(values), PER_LAST)
    return number(x).to(tl.uint8), scale""",
    "log8": """\
@triton.jit
def decode_log8(codes, scale):
    n = codes.to(tl.int32)
    return tl.where(n == 0, 0, (n + 768) << 20).to(tl.float32, bitcast=True) * scale


@triton.jit
def encode_log8(values):
    x, scale = scaled(values, PER_LAST)
    n = ((x.to(tl.int32, bitcast=True) + 0x80000) >> 20) - 768
    return tl.minimum(tl.maximum(n, 0), 255).to(tl.uint8), scale""",
    "fp8": """\
@triton.jit
def decode_fp8(codes, scale):
    n = codes.to(tl.int32)
    size = ((n & 0x7F) << 20).to(tl.float32, bitcast=True) * 1.329227995784916e36  # 2^120
    return tl.where(n >= 128, -size, size) * scale


@triton.jit
def encode_fp8(values):
    x, scale = scaled(values, PER_LAST)
    size = tl.abs(x)
    bits = size.to(tl.int32, bitcast=True)
    plain = ((bits + 0x7FFFF + ((bits >> 20) & 1)) >> 20) - 960
    small = (size + 16384.0).to(tl.int32, bitcast=True) - 0x46800000  # whole multiples of 2^-9
    n = tl.where(size < 0.015625, small, plain) | ((x.to(tl.int32, bitcast=True) >> 31) & 128)
    return n.to(tl.uint8), scale""",
}

WORDS = """\
@triton.jit
def join(high, low):
    return ((high.to(tl.int32) << 16) + low).to(tl.float32, bitcast=True)


@triton.jit
def apart(x):
    bits = x.to(tl.int32, bitcast=True)
    high = tl.where(x != x, 0x7FC0, (bits + 0x8000) >> 16)
    return high.to(tl.int16), (bits - (high << 16)).to(tl.int16)


@triton.jit
def mix(x):
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def round_by_chance(x, place):
    noise = (mix(place) & 0xFFFF).to(tl.int32)
    return tl.where(x != x, 0x7FC0, (x.to(tl.int32, bitcast=True) + noise) >> 16).to(tl.int16)"""

# what the functions above are called
FUNCTIONS = frozenset(re.findall(r"^def (\w+)", "\n".join([BLOCKS, DYNAMIC, *CODES.values(), WORDS]), re.MULTILINE))
