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

// What is added to the scores of a run of query rows: a bias by the distance from row to key, and -infinity where a row does
// not see a key. Scores are scaled later, so the bias is divided by the scale.
struct Added {
  const float* bias = nullptr;  // [2 reach + 1] of the head, or null
  int64_t reach = 0;
  float inverse = 1;            // 1 / scale
  bool causal = false;
  int64_t place = 0;            // of the run's first row within its sample

  // Rows `row` .. `row + rows` of the run, against `count` keys from the sample's key `first` on.
  void to(float* scores, int64_t row, int64_t rows, int64_t first, int64_t count) const {
    if (!bias && !causal) return;
    for (int64_t r = 0; r < rows; ++r, scores += kScoreStride) {
      const int64_t at = place + row + r - first;  // the row's own place, counted from the block's first key
      if (bias) {
        const int64_t low = least(count, most(0, at - reach)), high = least(count, most(0, at + reach));
        const float left = bias[0] * inverse, right = bias[2 * reach] * inverse;
        const float* middle = bias + reach - at;
        for (int64_t j = 0; j < low; ++j) scores[j] += left;
        for (int64_t j = low; j < high; ++j) scores[j] += middle[j] * inverse;
        for (int64_t j = high; j < count; ++j) scores[j] += right;
      }
      if (causal)
        for (int64_t j = most(0, at + 1); j < count; ++j) scores[j] = -__builtin_inff();
    }
  }
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
