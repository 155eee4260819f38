// Rounds numbers by a scale: weights to int8 (pack_int8.h), and to int16 the rows that meet them (ops/linear_int8.h).
// Files that include this are compiled without contraction, so that every machine rounds alike.
#pragma once
#include <stdint.h>
#include <string.h>

#include "bf16.h"

namespace salon {

constexpr float kMost8 = 127.0f;      // of an int8; -128 is left out
constexpr float kMost16 = 32767.0f;   // of an int16
constexpr float kLeast = 1e-30f;      // numbers that are all smaller count as zero: kMost16 / them would be infinite

static inline float number(float v) { return v; }
static inline float number(uint16_t v) { return bf16_to_f32(v); }

// Scale and its inverse. A scale is 0 where all numbers are zero, and NaN where one is not finite.
struct Scale { float scale, inverse; };

template <class T> static inline Scale scale_of(const T* x, int64_t n, float most_whole) {
  uint32_t most = 0;  // bits of the largest magnitude: infinity and NaN are above all numbers
  for (int64_t i = 0; i < n; ++i) {
    const float v = number(x[i]);
    uint32_t bits;
    memcpy(&bits, &v, 4);
    bits &= 0x7fffffffu;
    most = bits > most ? bits : most;
  }
  float largest;
  memcpy(&largest, &most, 4);
  if (most >= 0x7f800000u) {
    const uint32_t bits = 0x7fc00000u;
    float nan;
    memcpy(&nan, &bits, 4);
    return {nan, 0.0f};
  }
  if (largest < kLeast) return {0.0f, 0.0f};
  return {largest / most_whole, most_whole / largest};
}

// The nearest whole number of v * inverse, ties to even. v is finite, or inverse is 0 and the result any.
static inline int32_t rounded(float v, float inverse) {
  const float t = v * inverse + 12582912.0f;  // 1.5 * 2^23: the last bits are the whole number
  int32_t bits;
  memcpy(&bits, &t, 4);
  return bits - 0x4b400000;
}

}  // namespace salon
