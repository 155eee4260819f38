// One bfloat16 number, there and back.
// `static inline`: the object files of each instruction set keep their own copies (see CMakeLists.txt).
#pragma once
#include <stdint.h>
#include <string.h>

namespace salon {

static inline __attribute__((always_inline)) float bf16_to_f32(uint16_t v) {
  uint32_t bits = uint32_t(v) << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

// Round to nearest even; NaN stays NaN.
static inline __attribute__((always_inline)) uint16_t f32_to_bf16(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return uint16_t((bits >> 16) | 0x40);
  return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

}  // namespace salon
