"""How numbers lie in memory, for C: a type, and the functions that load and store it in the type of the arithmetic.

bf16 and fp16 are computed in float and rounded to nearest even when stored; both conversions are integer arithmetic
without branches, so that every compiler vectorises them on every processor.
"""

from __future__ import annotations

STORED = {"fp32": "float", "fp64": "double", "bf16": "bf16", "fp16": "fp16"}
BYTES = {"fp32": 4, "fp64": 8, "bf16": 2, "fp16": 2}

PRELUDE = """\
typedef struct { uint16_t bits; } bf16;
typedef struct { uint16_t bits; } fp16;
typedef union { uint32_t u; float f; } word;
static inline float load_fp32(float a) { return a; }
static inline float store_fp32(float a) { return a; }
static inline double load_fp64(double a) { return a; }
static inline double store_fp64(double a) { return a; }
static inline float load_bf16(bf16 a) { word w = {(uint32_t)a.bits << 16}; return w.f; }
static inline bf16 store_bf16(float a) {
  word w = {.f = a};
  uint32_t rounded = (w.u + 0x7fff + (w.u >> 16 & 1)) >> 16;
  bf16 b = {(uint16_t)(a != a ? 0x7fc0 : rounded)};
  return b;
}
static inline float load_fp16(fp16 a) {
  word scale = {(254 - 15) << 23}, top = {(127 + 16) << 23}, w = {((uint32_t)a.bits & 0x7fff) << 13};
  w.f *= scale.f;
  w.u |= w.f >= top.f ? 255u << 23 : 0u;
  w.u |= ((uint32_t)a.bits & 0x8000) << 16;
  return w.f;
}
static inline fp16 store_fp16(float a) {
  word w = {.f = a}, shift = {((127 - 15) + (23 - 10) + 1) << 23};
  uint32_t sign = w.u & 0x80000000u;
  w.u ^= sign;
  word small = {.f = w.f + shift.f};
  uint32_t tiny = small.u - shift.u, odd = w.u >> 13 & 1;
  uint32_t plain = (w.u + ((uint32_t)(15 - 127) << 23) + 0xfff + odd) >> 13;
  uint32_t huge = w.u > 255u << 23 ? 0x7e00u : 0x7c00u;
  uint32_t bits = w.u >= (127u + 16) << 23 ? huge : w.u < 113u << 23 ? tiny : plain;
  fp16 b = {(uint16_t)(bits | sign >> 16)};
  return b;
}
"""
