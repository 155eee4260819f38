// What the tasks of one attention call share, a task's memory, and how rows get into it.
#pragma once
#include "attention_state.h"
#include "memory.h"
#if defined(SALON_AMX)
#include "attention_amx.h"
#endif

namespace salon::SALON_ISA_NS {
namespace {

// Takes n <= kRows rows through all keys of `packed`: softmax weights (not yet divided by their sum) times values, in
// state.out.
template <class T>
void attend(const T* q, int64_t n, const T* packed, int64_t keys, const Layout<T>& layout, float scale, State& state,
            float* scores, const Added& added = {}) {
  for (int64_t first = 0; first < keys; first += kKeys) {
    const int64_t count = least(kKeys, keys - first);
    const T* block = packed + layout.block(first);
    const T* values = block + layout.values(count);
    for (int64_t row = 0; row < n; row += kGroup<T>) {
      const int64_t rows = least(kGroup<T>, n - row);
      score_panels(q + row * layout.padded, rows, block, count, layout, scores);
      added.to(scores, row, rows, first, count);
      raise_tops(state, row, rows, scores, count, scale, first == 0);
      for (int64_t r = 0; r < rows; ++r)
        weigh_row<T>(state, row + r, scores + r * kScoreStride, count, scale, first == 0, layout.cols);
      value_panels(scores, rows, values, count, layout, state.out + row * layout.cols, first ? Into::add : Into::fresh);
    }
  }
}

// What is the same for all tasks of a call.
template <class T> struct Call {
  const AttentionArgs& a;
  const Layout<T> layout;
  const float scale;
  int64_t own_elements = 0;    // of a pair packed in a thread's scratch, 0: packed in the shared buffer
  int64_t term_elements = 0;   // of the packed terms of any segment

  explicit Call(const AttentionArgs& args)
      : a(args), layout(args.width), scale(args.scale > 0 ? args.scale : 1.0f / __builtin_sqrtf(float(args.width))) {
    if (!a.term_start) return;
    for (int64_t j = 0; j < a.q_segments.count; ++j) {
      int64_t elements = 0;
      for (int64_t t = a.term_start[j]; t < a.term_start[j + 1]; ++t) elements += layout.blocks(term_rows(t));
      term_elements = most(term_elements, elements);
    }
  }
  int64_t term_rows(int64_t t) const { return a.term_offsets[a.term_index[t] + 1] - a.term_offsets[a.term_index[t]]; }
  int64_t keys_of(int64_t sample) const {
    int64_t n = 0;
    for (int64_t i = a.kv_start[sample]; i < a.kv_start[sample + 1]; ++i)
      n += a.kv_segments.offsets[a.kv_index[i] + 1] - a.kv_segments.offsets[a.kv_index[i]];
    return n;
  }
};

// A thread's memory for one task.
template <class T> struct Scratch {
  T *own, *terms, *q;
  float *scores, *term_out, *tokens;
  int32_t* index;
  State state;

  explicit Scratch(const Call<T>& call) {
    const Layout<T>& l = call.layout;
    char* base = static_cast<char*>(thread_scratch(size_t(carve(nullptr, call, l))));
    carve(base, call, l);
  }

 private:
  int64_t carve(char* base, const Call<T>& call, const Layout<T>& l) {
    int64_t used = 0;
    const auto take = [&](auto*& p, int64_t count) {
      p = reinterpret_cast<decltype(+p)>(base + used);
      used = round_up(used + count * int64_t(sizeof *p), 64);
    };
    take(own, call.own_elements);
    take(terms, call.term_elements);
    take(q, kRows * l.padded + kSlack<T>);
    take(scores, 2 * kGroup<T> * kScoreStride);
    take(term_out, call.a.term_start ? kRows * l.cols : 0);
    take(tokens, call.a.term_start ? kKeys * kLanes : 0);
    take(index, kKeys);
    take(state.tops, kRows);
    take(state.decays, kRows);
    take(state.sums, kRows * kLanes);
    take(state.out, kRows * l.cols);
    return used;
  }
};

// Copies rows begin .. begin + n of one head into scratch, padded with zeros.
template <class T> void gather(const View& x, int64_t begin, int64_t n, int64_t head, const Layout<T>& layout, T* q) {
  for (int64_t r = 0; r < n; ++r, q += layout.padded) {
    const T* from = row_of<const T>(x, begin + r) + head * layout.width;
#if defined(__AVX512F__)
    // Whole vectors: what they write past the row is overwritten by the next, or lies in the slack behind the last.
    for (int64_t e = 0; e < layout.padded; e += kSlack<T>) _mm512_storeu_si512(q + e, load_step(from + e, layout.width - e));
#else
    memcpy(q, from, size_t(layout.width) * sizeof(T));
#endif
  }
  if (kDepthStep<T> == 32 && n % 16) memset(q, 0, size_t((16 - n % 16) * layout.padded) * sizeof(T));  // whole tiles
}

template <class T> SALON_INLINE Pick<T> pick(const View& x, int64_t head, int64_t width, const int32_t* index) {
  return {static_cast<const T*>(x.data) + head * width, x.stride, index};
}

// Packs key block `block` of a sample's head.
template <class T>
void pack_keys_of(const Call<T>& call, int64_t sample, int64_t head, int64_t block, int32_t* index, T* packed) {
  const AttentionArgs& a = call.a;
  const int64_t shared = head / (a.heads / a.kv_heads);  // the head of keys and values that this head reads
  int64_t skip = block * kKeys, n = 0;
  for (int64_t i = a.kv_start[sample]; i < a.kv_start[sample + 1] && n < kKeys; ++i) {
    const int64_t begin = a.kv_segments.offsets[a.kv_index[i]], end = a.kv_segments.offsets[a.kv_index[i] + 1];
    const int64_t from = begin + least(skip, end - begin);
    skip -= from - begin;
    for (int64_t r = from; r < end && n < kKeys; ++r) index[n++] = int32_t(r);
  }
  pack_block(packed, pick<T>(a.k, shared, a.width, index), pick<T>(a.v, shared, a.width, index), n, call.layout);
}

}  // namespace
}  // namespace salon::SALON_ISA_NS
