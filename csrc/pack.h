// Weights into the layout of `Packed`. The same for every ISA.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "tensor.h"

namespace salon {

struct Source {
  const void* data;     // [n, k] (convolutions: [n, k, taps]), contiguous, f32 or bf16 bits
  Dtype dtype;
  std::int64_t n;
  const float* bias;    // [n] or null
};

// A Packed and the memory it points into.
struct PackedWeight {
  Packed view;
  std::shared_ptr<void> data;
  std::vector<float> bias;
  std::vector<float> scale;  // i8
  std::size_t bytes = 0;
  double error = 0;          // i8: root mean square of what rounding changed, as a share of that of the weights

  // The weights of `upsample`: like view.data of a 3x3 convolution, with 16 taps in place of its nine. Made at the
  // first use, and kept.
  const void* parities(int threads);

 private:
  std::once_flag once_;
  std::shared_ptr<void> parities_;
};

// The factors of a low-rank term, and the memory that they point into; see LowRankTerm.
struct LowRank {
  std::shared_ptr<PackedWeight> down;
  std::vector<float> up;
  std::vector<std::int64_t> place;
  std::vector<std::int32_t> first, last;
  std::int64_t n = 0;  // output columns, as a Packed has them
  bool swiglu = false;
};

// Sources stand below each other as one [sum of n, k * taps] matrix. `swiglu`: the first half of the rows is the gate.
std::shared_ptr<PackedWeight> pack_weight(const std::vector<Source>& sources, std::int64_t k, std::int64_t taps,
                                          Dtype dtype, bool swiglu, int threads);

}  // namespace salon
