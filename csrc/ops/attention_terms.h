// The adapter terms of a block of query rows. Source: decoupled cross-attention, IP-Adapter (2308.06721), eq. 5.
#pragma once
#include "attention_call.h"

namespace salon::SALON_ISA_NS {
namespace {

// A run of terms that are computed together: neighbours that share one block, or one term of any length.
struct Run {
  int64_t begin, end;  // of term_index
  int64_t rows;
};
template <class T> SALON_INLINE Run next_run(const Call<T>& call, int64_t begin, int64_t end) {
  Run run{begin, begin + 1, call.term_rows(begin)};
  while (run.end < end && run.rows + call.term_rows(run.end) <= kKeys) run.rows += call.term_rows(run.end++);
  return run;
}

template <class T> void pack_terms(const Call<T>& call, int64_t segment, int64_t head, Scratch<T>& scratch) {
  const AttentionArgs& a = call.a;
  const Pick<T> keys = pick<T>(a.term_keys, head, a.width, scratch.index);
  const Pick<T> values = pick<T>(a.term_values, head, a.width, scratch.index);
  T* packed = scratch.terms;
  const int64_t end = a.term_start[segment + 1];
  for (int64_t t = a.term_start[segment]; t < end;) {
    const Run run = next_run(call, t, end);
    int64_t n = 0;
    for (; t < run.end; ++t) {
      for (int64_t r = a.term_offsets[a.term_index[t]]; r < a.term_offsets[a.term_index[t] + 1]; ++r) {
        scratch.index[n++] = a.term_rows[r];
        if (n < kKeys) continue;
        pack_block(packed, keys, values, n, call.layout);
        packed += call.layout.block(n);
        n = 0;
      }
    }
    if (!n) continue;
    pack_block(packed, keys, values, n, call.layout);
    packed += call.layout.block(n);
  }
}

// A run of short terms: one product for the scores of all, a softmax for each, one product for the sum of all.
template <class T>
void attend_short_terms(const Call<T>& call, const Run& run, const T* packed, int64_t n, Scratch<T>& scratch, Into into) {
  const AttentionArgs& a = call.a;
  const Layout<T>& layout = call.layout;
  const T* values = packed + layout.values(run.rows);
  for (int64_t row = 0; row < n; row += kGroup<T>) {
    const int64_t rows = least(kGroup<T>, n - row);
    score_panels(scratch.q + row * layout.padded, rows, packed, run.rows, layout, scratch.scores);
    for (int64_t r = 0; r < rows; r += kLanes) {
      const int64_t n = least(kLanes, rows - r);
      float* scores = scratch.scores + r * kScoreStride;
      float* x = scratch.tokens;
      for (int64_t j = 0; j < run.rows; j += kLanes) 
        mirror(scores + j, kScoreStride, n, x + j * kLanes, kLanes, least(kLanes, run.rows - j));
      for (int64_t t = run.begin; t < run.end; ++t) {
        const int64_t count = call.term_rows(t);
        term_weights<T>(x, count, a.term_weights[a.term_index[t]], call.scale);
        x += count * kLanes;
      }
      const int64_t end = round_up(run.rows, kLanes);
      for (int64_t j = run.rows; j < end; ++j, x += kLanes) store(x, set1(0));
      T* weights = reinterpret_cast<T*>(scores);
      for (int64_t j = 0; j < end; j += kLanes)
        mirror(scratch.tokens + j * kLanes, kLanes, kLanes, weights + j, kScoreStride * kPer<T>, n);
      if (end % kWide)
        for (int64_t i = 0; i < n; ++i) store(weights + i * kScoreStride * kPer<T> + end, set1(0));
    }
    value_panels(scratch.scores, rows, values, run.rows, layout, scratch.term_out + row * layout.cols, into);
  }
}

// The sum of a segment's terms for n query rows, in scratch.term_out. Uses the state.
template <class T> void attend_terms(const Call<T>& call, int64_t segment, int64_t n, Scratch<T>& scratch) {
  const AttentionArgs& a = call.a;
  const Layout<T>& layout = call.layout;
  const T* packed = scratch.terms;
  Into into = Into::fresh;
  const int64_t end = a.term_start[segment + 1];
  for (int64_t t = a.term_start[segment]; t < end;) {
    const Run run = next_run(call, t, end);
    t = run.end;
    if (!run.rows) continue;
    if (run.rows <= kKeys) {
      attend_short_terms(call, run, packed, n, scratch, into);
    } else {
      attend(scratch.q, n, packed, run.rows, layout, call.scale, scratch.state, scratch.scores);
      for (int64_t r = 0; r < n; ++r) {
        const float share = a.term_weights[a.term_index[run.begin]] / sum(load(scratch.state.sums + r * kLanes));
        const float* from = scratch.state.out + r * layout.cols;
        float* to = scratch.term_out + r * layout.cols;
        for (int64_t c = 0; c < layout.cols; c += kLanes)
          store(to + c, fma(load(from + c), set1(share), into == Into::add ? load(to + c) : set1(0)));
      }
    }
    packed += layout.blocks(run.rows);
    into = Into::add;
  }
  if (into == Into::fresh) memset(scratch.term_out, 0, size_t(n * layout.cols) * 4);
}

}  // namespace
}  // namespace salon::SALON_ISA_NS
