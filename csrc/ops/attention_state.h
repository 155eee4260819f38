// What the pass over key blocks keeps for each query row: the running maximum, the running sum, the output so far.
// Source: online softmax, 1805.02867, algorithm 3; in blocks, 2205.14135, algorithm 1.
#pragma once
#include "attention_dot.h"

namespace salon::SALON_ISA_NS {
namespace {

struct State {
  float* tops;    // [kRows] largest score so far
  float* decays;  // [kRows] e^-(scale * how far the top rose with this block): the factor of the sums so far
  float* sums;    // [kRows][kLanes] sum of the weights, lane by lane
  float* out;     // [kRows][cols] sum of weights times values
};

// Raises the tops of `rows` rows from `row` on to this block's scores. Tops of later rows stay as they are.
SALON_INLINE void raise_tops(State& state, int64_t row, int64_t rows, const float* scores, int64_t keys, float scale, bool first) {
  for (int64_t r = 0; r < rows; r += kLanes) {
    const int n = int(least(kLanes, rows - r));
    vf tops[kLanes];
    for (int i = 0; i < kLanes; ++i) tops[i] = i < n ? row_top(scores + (r + i) * kScoreStride, keys) : set1(kLowest);
    vf top = each_largest(tops);
    if (!first) {
      const vf before = load(state.tops + row + r, n);
      top = max2(before, top);
      store(state.decays + row + r, exp((before - top) * set1(scale)), n);
    }
    store(state.tops + row + r, top, n);
  }
}

template <class T>
SALON_INLINE void weigh_row(State& state, int64_t row, float* scores, int64_t keys, float scale, bool first, int64_t cols) {
  vf sums = set1(0);
  if (!first) {
    const float decay = state.decays[row];
    sums = load(state.sums + row * kLanes) * set1(decay);
    if (decay != 1.0f) {  // times one changes nothing
      float* out = state.out + row * cols;
      for (int64_t c = 0; c < cols; c += kLanes) store(out + c, load(out + c) * set1(decay));
    }
  }
  store(state.sums + row * kLanes, row_weights<T>(scores, keys, state.tops[row], scale, sums));
}

}  // namespace
}  // namespace salon::SALON_ISA_NS
