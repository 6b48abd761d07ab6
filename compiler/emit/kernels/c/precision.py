"""Arrays in fewer bits than the arithmetic has, in C: states of 8 bits in blocks, parameters in two words of 16.

A pass over blocks of 256 entries brings a block of codes to float before its loop, in an array on the stack; the loop
leaves the new values there, and they are encoded after it:

    float v_block[BLOCK];
    decode_uint8(v_block, v_at + block, v_scale_at[block/BLOCK], end - block);
    for (…) { const float v = v_block[i - block]; … v_block[i - block] = v_next; }
    v_scale_at[block/BLOCK] = encode_uint8(v_at + block, v_block, end - block);
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dotopt.compiler.emit.kernels.c import storage as c_storage
from dotopt.compiler.emit.names import Names
from dotopt.compiler.schedule.storage import BLOCK, FORMATS

TYPES = {
    **c_storage.STORED,
    **dict.fromkeys(("uint8", "sqrt8", "log8", "fp8"), "uint8_t"),
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
}


@dataclass(frozen=True)
class Narrow:
    """What `stored` says of the arrays that are not plain numbers. `param` is the name of the parameter."""

    stored: Mapping[str, str]
    param: str
    names: Names = field(default_factory=Names, kw_only=True)

    def base(self, name: str) -> str:
        """The identifier that an array gives its names to: no two alike, though there be `m scale` and `m_scale`."""
        return self.names.of(name, name)

    def at(self, name: str) -> str:
        """The pointer to an array."""
        return self.base(name) + "_at"

    @property
    def rounding(self) -> str | None:
        """How the parameter is rounded."""
        return self.stored.get(f"{self.param} rounding")

    def blocks(self, names: Iterable[str]) -> list[str]:
        """The arrays among `names` that are kept in blocks."""
        return [name for name in names if FORMATS[self.stored[name]].blocks]

    def parts(self, names: Iterable[str]) -> list[str]:
        """All arrays that stand for `names`: scales and second words too."""
        found = []
        for name in names:
            found.append(name)
            if name == self.param and self.rounding:
                found.append(f"{name} beside")
            elif name in self.blocks([name]):
                found.append(f"{name} scale")
        return found

    def load(self, name: str) -> str:
        """Entry `i` of an array, as a number."""
        if self.blocks([name]):
            return f"{self.base(name)}_block[i - block]"
        entry = f"{self.at(name)}[i]"
        match self.rounding if name == self.param else None:
            case "kahan":
                load = f"load_{self.stored[name]}"
                return f"{load}({entry}) + {load}({self.at(name + ' beside')}[i])"
            case "low_word":
                return f"join({entry}, {self.at(name + ' beside')}[i])"
        return f"load_{self.stored[name]}({entry})"

    def store(self, name: str, text: str) -> list[str]:
        """The statements that give entry `i` of an array a value."""
        if self.blocks([name]):
            return [f"{self.base(name)}_block[i - block] = {text};"]
        format, entry = self.stored[name], f"{self.at(name)}[i]"
        more = f"{self.at(name + ' beside')}[i]"
        match self.rounding if name == self.param else None:
            case "kahan":
                high = f"const {TYPES[format]} high = store_{format}(whole);"
                low = f"{more} = store_{format}(whole - load_{format}(high));"
                return [f"const float whole = {text};", high, f"{entry} = high;", low]
            case "low_word":
                return [
                    f"const float whole = {text};",
                    "const bf16 high = high_word(whole);",
                    f"{entry} = high;",
                    f"{more} = low_word(whole, high);",
                ]
            case "stochastic":
                return [f"{entry} = round_by_chance({text}, {self.base(name)}_key + (uint32_t)i);"]
        return [f"{entry} = store_{format}({text});"]

    def key(self, t: str) -> list[str]:
        """What the noise of a tensor starts from in a step."""
        if self.rounding != "stochastic":
            return []
        key = f"{self.at(self.param + ' beside')}[0]"
        noise = f"mix((uint32_t){key} + (uint32_t)(int64_t){t}*0x9e3779b9u)"
        return [f"const uint32_t {self.base(self.param)}_key = {noise};"]

    def before(self, loads: Iterable[str], stores: Iterable[str]) -> list[str]:
        """Before the loop over a block."""
        loads = self.blocks(loads)
        names = dict.fromkeys([*loads, *self.blocks(stores)])
        lines = [f"float {', '.join(f'{self.base(name)}_block[{BLOCK}]' for name in names)};"] if names else []
        for name in loads:
            given = f"{self.at(name)} + block, {self.at(name + ' scale')}[block/{BLOCK}], end - block"
            lines.append(f"decode_{self.stored[name]}({self.base(name)}_block, {given});")
        return lines

    def after(self, stores: Sequence[str]) -> list[str]:
        """After the loop over a block."""
        return [
            f"{self.at(name + ' scale')}[block/{BLOCK}] = "
            f"encode_{self.stored[name]}({self.at(name)} + block, {self.base(name)}_block, end - block);"
            for name in self.blocks(stores)
        ]

    @property
    def prelude(self) -> str:
        """The functions that these arrays need."""
        used = {self.stored[name] for name in self.stored if self.stored[name] in FORMATS}
        used = {format for format in used if FORMATS[format].blocks}
        parts = [BLOCKS] if used else []
        parts += [DYNAMIC, VECTORS] if used & {"int8", "uint8", "sqrt8"} else []
        parts += [CODES[format] for format in CODES if format in used or (format == "uint8" and "sqrt8" in used)]
        return "".join(parts) + (WORDS if self.rounding else "")


BLOCKS = """\
/* The largest magnitude of a block, as bits: a NaN is larger than all numbers, so that it is not lost. */
static inline float largest(const float *from, int64_t count) {
  int32_t top = 0;
  #pragma omp simd reduction(max:top)
  for (int64_t k = 0; k < count; k++) {
    const word w = {.f = from[k]};
    const int32_t size = w.u & 0x7fffffff;
    top = size > top ? size : top;
  }
  const word w = {(uint32_t)top};
  return w.f;
}
static inline float inverse(float scale) { return scale >= 0x1p-126f ? 1/scale : 0; }
"""

DYNAMIC = """\
/* Code n stands for p^2 (7n/8 + 7/16 - 3p/4), where p = 2^floor(log2 n) is n without its mantissa: exact in float. */
static inline float dynamic(float n) {
  const word w = {.f = n}, p = {w.u & 0x7f800000};
  word middle = {.f = 0.4375f - 0.75f*p.f};
  middle.u ^= w.u & 0x80000000;
  return p.f*(p.f*(0.875f*n + middle.f));
}
/* The code in whose cell x >= 0 lies; the level is a third of the exponent, since levels are a factor 8 apart. */
static inline int32_t number(float x) {
  const word w = {.f = x < 0.125f ? 0.125f : x};
  const int32_t level = ((int32_t)(w.u >> 23) - 124)*171 >> 9;
  const word middle = {(uint32_t)(level + 126) << 23 | 0x400000}, down = {(uint32_t)(127 - 2*level) << 23};
  return (int32_t)((x*down.f + middle.f)*(8.0f/7));
}
"""

# The same, eight at a time, where compilers make slow code of it: they pack codes by way of masks, and choose signs by
# comparing. Products that are added to something are powers of two times a float, so fusing both changes no bit.
VECTORS = """\
#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define ALL(x) _mm256_set1_epi32(x)
static inline __m256 dynamic_8(__m256 n) {
  const __m256 p = _mm256_and_ps(n, _mm256_castsi256_ps(ALL(0x7f800000)));
  __m256 middle = _mm256_fnmadd_ps(p, _mm256_set1_ps(0.75f), _mm256_set1_ps(0.4375f));
  middle = _mm256_xor_ps(middle, _mm256_and_ps(n, _mm256_set1_ps(-0.0f)));
  return _mm256_mul_ps(p, _mm256_mul_ps(p, _mm256_fmadd_ps(n, _mm256_set1_ps(0.875f), middle)));
}
static inline __m256i number_8(__m256 x) {
  const __m256i bits = _mm256_max_epi32(_mm256_castps_si256(x), ALL(0x3e000000));
  const __m256i third = _mm256_madd_epi16(_mm256_sub_epi32(_mm256_srli_epi32(bits, 23), ALL(124)), ALL(171));
  const __m256i level = _mm256_and_si256(_mm256_slli_epi32(third, 14), ALL((int)0xff800000));
  const __m256i middle = _mm256_add_epi32(level, ALL(126 << 23 | 0x400000));
  const __m256i down = _mm256_sub_epi32(_mm256_sub_epi32(ALL(127 << 23), level), level);
  const __m256 y = _mm256_fmadd_ps(x, _mm256_castsi256_ps(down), _mm256_castsi256_ps(middle));
  return _mm256_cvttps_epi32(_mm256_mul_ps(y, _mm256_set1_ps(8.0f/7)));
}
static inline __m256i in_order(__m256i codes) {
  return _mm256_permutevar8x32_epi32(codes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
#define DECODE(widen) \\
  for (; k + 8 <= count; k += 8) { \\
    const __m256 n = _mm256_cvtepi32_ps(widen(_mm_loadl_epi64((const __m128i *)(from + k)))); \\
    _mm256_storeu_ps(to + k, _mm256_mul_ps(dynamic_8(n), _mm256_set1_ps(scale))); \\
  }
#define ENCODE(size, sign, pack) \\
  for (; k + 32 <= count; k += 32) { \\
    __m256i n[4]; \\
    for (int q = 0; q < 4; q++) { \\
      const __m256 x = _mm256_loadu_ps(from + k + 8*q); \\
      n[q] = sign(number_8(_mm256_mul_ps(size(x), _mm256_set1_ps(per))), x); \\
    } \\
    const __m256i low = _mm256_packs_epi32(n[0], n[1]), high = _mm256_packs_epi32(n[2], n[3]); \\
    _mm256_storeu_si256((__m256i *)(to + k), in_order(pack(low, high))); \\
  }
#define SIZE(x) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x)
#define SIGNED(n, x) _mm256_sign_epi32(n, _mm256_castps_si256(x))
#define SAME(x) (x)
#define UNSIGNED(n, x) (n)
#else
#define DECODE(widen)
#define ENCODE(size, sign, pack)
#endif
"""


def _coder(format: str, decoded: str, encoded: str, vectors: tuple[str, str] = ("", "")) -> str:
    kind, last = TYPES[format], FORMATS[format].last
    assert last is not None
    begin = "int64_t k = 0;\n"
    loops = [f"  {begin}  {text}\n  for (; k < count; k++) " for text in vectors if text]
    plain = "  #pragma omp simd\n  for (int64_t k = 0; k < count; k++) "
    decoding, encoding = loops or (plain, plain)
    return f"""\
static inline void decode_{format}(float *restrict to, const {kind} *restrict from, float scale, int64_t count) {{
{decoding}{decoded}
}}
static inline float encode_{format}({kind} *restrict to, float *restrict from, int64_t count) {{
  const float scale = largest(from, count)*{float(1 / last)!r}f, per = inverse(scale);
{encoding}{encoded}
  return scale;
}}
"""


CODES = {
    "int8": _coder(
        "int8",
        "to[k] = dynamic(from[k])*scale;",
        "{\n    const int32_t n = number(fabsf(from[k])*per);\n    to[k] = from[k] < 0 ? -n : n;\n  }",
        ("DECODE(_mm256_cvtepi8_epi32)", "ENCODE(SIZE, SIGNED, _mm256_packs_epi16)"),
    ),
    "uint8": _coder(
        "uint8",
        "to[k] = dynamic(from[k])*scale;",
        "to[k] = number(from[k]*per);",
        ("DECODE(_mm256_cvtepu8_epi32)", "ENCODE(SAME, UNSIGNED, _mm256_packus_epi16)"),
    ),
    "sqrt8": """\
static inline void decode_sqrt8(float *restrict to, const uint8_t *restrict from, float scale, int64_t count) {
  decode_uint8(to, from, scale, count);
  #pragma omp simd
  for (int64_t k = 0; k < count; k++) to[k] *= to[k];
}
static inline float encode_sqrt8(uint8_t *restrict to, float *restrict from, int64_t count) {
  #pragma omp simd
  for (int64_t k = 0; k < count; k++) from[k] = sqrtf(from[k]);
  return encode_uint8(to, from, count);
}
""",
    "log8": _coder(
        "log8",
        "{\n    const word w = {from[k] ? (from[k] + 768u) << 20 : 0};\n    to[k] = w.f*scale;\n  }",
        "{\n    const word w = {.f = from[k]*per};\n    const int32_t n = (int32_t)((w.u + 0x80000) >> 20) - 768;\n"
        "    to[k] = n < 0 ? 0 : n > 255 ? 255 : n;\n  }",
    ),
    "fp8": _coder(
        "fp8",
        "{\n    word w = {(from[k] & 0x7fu) << 20};\n    w.f *= 0x1p120f;\n    w.u |= (from[k] & 0x80u) << 24;\n"
        "    to[k] = w.f*scale;\n  }",
        "{\n    word w = {.f = from[k]*per};\n    const uint32_t sign = w.u & 0x80000000;\n    w.u ^= sign;\n"
        "    const word small = {.f = w.f + 0x1p14f}; /* whole multiples of 2^-9 */\n"
        "    const uint32_t plain = ((w.u + 0x7ffff + (w.u >> 20 & 1)) >> 20) - (120 << 3);\n"
        "    to[k] = (w.f < 0x1p-6f ? small.u - 0x46800000 : plain) | sign >> 24;\n  }",
    ),
}

WORDS = """\
static inline float join(bf16 high, int16_t low) {
  const word w = {((uint32_t)high.bits << 16) + (uint32_t)(int32_t)low};
  return w.f;
}
static inline bf16 high_word(float a) {
  const word w = {.f = a};
  const bf16 b = {(uint16_t)(a != a ? 0x7fc0 : (w.u + 0x8000) >> 16)};
  return b;
}
static inline int16_t low_word(float a, bf16 high) {
  const word w = {.f = a};
  return (int16_t)(w.u - ((uint32_t)high.bits << 16));
}
static inline uint32_t mix(uint32_t x) {
  x = (x ^ x >> 16)*0x7feb352d;
  x = (x ^ x >> 15)*0x846ca68b;
  return x ^ x >> 16;
}
static inline bf16 round_by_chance(float a, uint32_t place) {
  const word w = {.f = a};
  const bf16 b = {(uint16_t)(a != a ? 0x7fc0 : (w.u + (mix(place) & 0xffff)) >> 16)};
  return b;
}
"""
