// Plain views over rows, and packed weights: what kernels see. No framework header, no ownership.
#pragma once
#include <cstddef>
#include <cstdint>

namespace salon {

enum class Dtype : std::uint8_t { f32 = 0, bf16 = 1, i8 = 2 };  // i8: of packed weights alone

// Rows of a [rows, cols] array; row r starts at data + r * stride elements, its elements are contiguous.
struct View {
  void* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t stride = 0;  // elements from one row to the next
  Dtype dtype = Dtype::f32;
};

// Output columns come in panels of this many, in every ISA, so that packed weights do not depend on it.
constexpr std::int64_t kPanel = 32;
// bf16 inner dimensions are padded to this many (the depth of one AMX tile).
constexpr std::int64_t kDepth = 32;
// int8 inner dimensions are padded to this many, whose products one vector instruction adds up.
constexpr std::int64_t kQuad = 4;

// A weight [n, taps * k], laid out as panels of 32 output columns:
//   f32:  [panel][tap][k][32]               (kp = k)
//   bf16: [panel][tap][kp / 2][32][2]       (kp = k rounded up to 32, padding is zero)
//   i8:   [panel][kp / 4][32][4]            (kp = k rounded up to 4, padding is zero; linear layers only)
// Columns past n are zero. With `swiglu`, panel p holds 16 gate columns, then the 16 value columns that belong to them.
struct Packed {
  Dtype dtype = Dtype::f32;
  std::int64_t n = 0;        // output columns (swiglu: gate and value together)
  std::int64_t k = 0;        // inputs (channels) per tap
  std::int64_t kp = 0;       // k as stored
  std::int64_t taps = 1;     // 1 for linear layers and 1x1 convolutions, 9 for 3x3, row-major
  std::int64_t panels = 0;
  bool swiglu = false;
  const void* data = nullptr;
  const float* bias = nullptr;  // [panels * 32], in the columns' packed order, zero where absent
  const float* scale = nullptr; // i8: [panels * 32], the same order: a weight is its number times this
};

}  // namespace salon
