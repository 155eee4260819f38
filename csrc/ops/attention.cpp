// Ragged attention with adapter terms, flash style: one pass over a sample's keys for every block of its query rows.
//
// A (sample, head) pair's keys and values are packed once (attention_layout.h) and used by all of its query rows. Where
// there are many pairs to a thread, one task does a pair from packing to output. Otherwise phase 1 packs the blocks of
// as many pairs as fit in kShared bytes into a shared buffer, and phase 2 takes blocks of query rows.
#include "attention_state.h"
#include "memory.h"
#include "pool.h"
#if defined(SALON_AMX)
#include "attention_amx.h"
#endif

namespace salon::SALON_ISA_NS {
namespace {

constexpr int64_t kShared = int64_t(32) << 20;  // bytes of packed keys and values of one group of pairs in phase 1
constexpr int64_t kOwn = int64_t(4) << 20;      // bytes of a pair that a thread may keep in its scratch
constexpr int64_t kTasksPerThread = 8;          // of one task each a pair, for an even load

template <class T> SALON_INLINE void configure() {
#if defined(SALON_AMX)
  if constexpr (sizeof(T) == 2) tiles_configure();
#endif
}
template <class T> SALON_INLINE void deconfigure() {
#if defined(SALON_AMX)
  if constexpr (sizeof(T) == 2) tiles_release();
#endif
}

// All keys of `packed` for n <= kRows rows: softmax weights (not yet divided by their sum) times values, in state.out.
template <class T>
void attend(const T* q, int64_t n, const T* packed, int64_t keys, const Layout<T>& layout, float scale, State& state,
            float* scores) {
  for (int64_t first = 0; first < keys; first += kKeys) {
    const int64_t count = least(kKeys, keys - first);
    const T* block = packed + layout.block(first);
    const T* values = block + layout.values(count);
    for (int64_t row = 0; row < n; row += kGroup<T>) {
      const int64_t rows = least(kGroup<T>, n - row);
      for (int64_t j = 0; j < count; j += kWide)
        score_panel(q + row * layout.padded, rows, block + j * layout.padded, count - j, layout, scores + j);
      for (int64_t r = 0; r < rows; ++r) raise_top(state, row + r, scores + r * kScoreStride, count, first == 0);
      if (first) fade_factors(state, row, rows, scale);
      for (int64_t r = 0; r < rows; ++r)
        weigh_row<T>(state, row + r, scores + r * kScoreStride, count, scale, first == 0, layout.cols);
      for (int64_t c = 0; c < layout.cols; c += kWide)
        value_panel(scores, rows, values + c * round_up(count, kWide), count, layout.width - c,
                    state.out + row * layout.cols + c, layout.cols, first ? Into::add : Into::fresh);
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
      : a(args), layout(args.width), scale(1.0f / __builtin_sqrtf(float(args.width))) {
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
    take(state.fades, kRows);
    take(state.sums, kRows * kLanes);
    take(state.out, kRows * l.cols);
    return used;
  }
};

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

template <class T> SALON_INLINE Pick<T> pick(const View& x, int64_t head, int64_t width, const int32_t* index) {
  return {static_cast<const T*>(x.data) + head * width, x.stride, index};
}

// Packs key block `block` of a sample's head.
template <class T>
void pack_keys_of(const Call<T>& call, int64_t sample, int64_t head, int64_t block, int32_t* index, T* packed) {
  const AttentionArgs& a = call.a;
  int64_t skip = block * kKeys, n = 0;
  for (int64_t i = a.kv_start[sample]; i < a.kv_start[sample + 1] && n < kKeys; ++i) {
    const int64_t begin = a.kv_segments.offsets[a.kv_index[i]], end = a.kv_segments.offsets[a.kv_index[i] + 1];
    const int64_t from = begin + least(skip, end - begin);
    skip -= from - begin;
    for (int64_t r = from; r < end && n < kKeys; ++r) index[n++] = int32_t(r);
  }
  pack_block(packed, pick<T>(a.k, head, a.width, index), pick<T>(a.v, head, a.width, index), n, call.layout);
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

// A run of short terms: one product for the scores of all, a softmax for each, one product for the sum of all.
template <class T>
void attend_short_terms(const Call<T>& call, const Run& run, const T* packed, int64_t n, Scratch<T>& scratch, Into into) {
  const AttentionArgs& a = call.a;
  const Layout<T>& layout = call.layout;
  const T* values = packed + layout.values(run.rows);
  for (int64_t row = 0; row < n; row += kGroup<T>) {
    const int64_t rows = least(kGroup<T>, n - row);
    for (int64_t j = 0; j < run.rows; j += kWide)
      score_panel(scratch.q + row * layout.padded, rows, packed + j * layout.padded, run.rows - j, layout, scratch.scores + j);
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
      const int64_t end = round_up(run.rows, kWide);
      for (int64_t j = run.rows; j < end; ++j, x += kLanes) store(x, set1(0));
      for (int64_t j = 0; j < end; j += kLanes)
        mirror(scratch.tokens + j * kLanes, kLanes, kLanes, reinterpret_cast<T*>(scores) + j, kScoreStride * kPer<T>, n);
    }
    for (int64_t c = 0; c < layout.cols; c += kWide)
      value_panel(scratch.scores, rows, values + c * round_up(run.rows, kWide), run.rows, layout.width - c,
                  scratch.term_out + row * layout.cols + c, layout.cols, into);
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

template <class T> SALON_INLINE void put(T* to, int64_t c, int64_t width, vf x) {
  if (width - c >= kLanes) store(to + c, x);
  else store(to + c, x, int(width - c));
}

// n <= kRows query rows of one segment and head, from `begin` on. The segment's terms are packed in scratch.
template <class T>
void attend_rows(const Call<T>& call, int64_t segment, int64_t begin, int64_t n, int64_t head, const T* packed,
                 int64_t keys, Scratch<T>& scratch) {
  const AttentionArgs& a = call.a;
  const Layout<T>& layout = call.layout;
  const bool terms = a.term_start && a.term_start[segment] < a.term_start[segment + 1];
  if (terms) {
    gather(a.term_q.data ? a.term_q : a.q, begin, n, head, layout, scratch.q);
    attend_terms(call, segment, n, scratch);
  }
  if (!terms || a.term_q.data) gather(a.q, begin, n, head, layout, scratch.q);
  if (keys) attend(scratch.q, n, packed, keys, layout, call.scale, scratch.state, scratch.scores);

  const bool joined = terms && !a.term_out.data;
  for (int64_t r = 0; r < n; ++r) {
    T* out = row_of<T>(a.out, begin + r) + head * layout.width;
    const float* from = scratch.state.out + r * layout.cols;
    const float* extra = scratch.term_out + r * layout.cols;
    const vf inverse = set1(keys ? 1.0f / sum(load(scratch.state.sums + r * kLanes)) : 0);
    for (int64_t c = 0; c < layout.width; c += kLanes) {
      vf x = joined ? load(extra + c) : set1(0);
      if (keys) x = fma(load(from + c), inverse, x);
      put(out, c, layout.width, x);
    }
    if (!terms || joined) continue;
    T* apart = row_of<T>(a.term_out, begin + r) + head * layout.width;
    for (int64_t c = 0; c < layout.width; c += kLanes) put(apart, c, layout.width, load(extra + c));
  }
}

// All query rows of a (sample, head) pair, in one task.
template <class T> void attend_pair(const Call<T>& call, int64_t pair) {
  const AttentionArgs& a = call.a;
  const int64_t sample = pair / a.heads, head = pair % a.heads, keys = call.keys_of(sample);
  Scratch<T> scratch(call);
  configure<T>();
  bool packed = false;
  for (int64_t j = 0; j < a.q_segments.count; ++j) {
    const int64_t begin = a.q_segments.offsets[j], end = a.q_segments.offsets[j + 1];
    if (a.q_segments.owners[j] != sample || begin == end) continue;
    for (int64_t b = 0; !packed && b * kKeys < keys; ++b)
      pack_keys_of(call, sample, head, b, scratch.index, scratch.own + call.layout.block(b * kKeys));
    packed = true;
    if (a.term_start) pack_terms(call, j, head, scratch);
    for (int64_t r = begin; r < end; r += kRows)
      attend_rows(call, j, r, least(kRows, end - r), head, scratch.own, keys, scratch);
  }
  deconfigure<T>();
}

// Work lists of the two phases. A unit is one key block (phase 1) or one block of query rows (phase 2) of a sample.
struct Unit { int32_t segment, begin, rows; };
template <class T> struct Phases {
  const Call<T>& call;
  Unit* rows;             // all blocks of query rows, by sample
  int64_t* first_rows;    // [samples + 1] each sample's first among them
  int64_t* keys;          // [samples]
  int64_t *start1, *start2, *offset;  // [pairs of the group + 1] tasks and packed elements before each pair of the group
  int64_t first_pair, pairs;
  T* packed;

  // The pair that a task belongs to, and the task's number within it.
  int64_t find(const int64_t* start, int64_t& task) const {
    int64_t low = 0, high = pairs;
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (start[middle] <= task ? low : high) = middle;
    }
    task -= start[low];
    return low;
  }
  void pack(int64_t task) const {
    const int64_t p = find(start1, task), pair = first_pair + p;
    Scratch<T> scratch(call);
    pack_keys_of(call, pair / call.a.heads, pair % call.a.heads, task, scratch.index,
                 packed + offset[p] + call.layout.block(task * kKeys));
  }
  void attend(int64_t task) const {
    const int64_t p = find(start2, task), pair = first_pair + p, sample = pair / call.a.heads, head = pair % call.a.heads;
    const Unit& unit = rows[first_rows[sample] + task];
    Scratch<T> scratch(call);
    configure<T>();
    if (call.a.term_start) pack_terms(call, unit.segment, head, scratch);
    attend_rows(call, unit.segment, unit.begin, unit.rows, head, packed + offset[p], keys[sample], scratch);
    deconfigure<T>();
  }
};

template <class T> void attend_in_phases(Call<T>& call) {
  const AttentionArgs& a = call.a;
  const int64_t all_pairs = a.samples * a.heads;
  int64_t units = 0;
  for (int64_t j = 0; j < a.q_segments.count; ++j)
    units += ceil_div(a.q_segments.offsets[j + 1] - a.q_segments.offsets[j], kRows);

  const size_t list_bytes = size_t(2 * a.samples + 1 + 3 * (all_pairs + 1)) * sizeof(int64_t);
  char* lists = static_cast<char*>(acquire(list_bytes + size_t(units) * sizeof(Unit)));
  Phases<T> phases{call, reinterpret_cast<Unit*>(lists + list_bytes), reinterpret_cast<int64_t*>(lists), nullptr, nullptr,
                   nullptr, nullptr, 0, 0, nullptr};
  phases.keys = phases.first_rows + a.samples + 1;
  phases.start1 = phases.keys + a.samples;
  phases.start2 = phases.start1 + all_pairs + 1;
  phases.offset = phases.start2 + all_pairs + 1;

  int64_t n = 0, largest_pair = 0;
  for (int64_t s = 0; s < a.samples; ++s) {
    phases.first_rows[s] = n;
    phases.keys[s] = call.keys_of(s);
    for (int64_t j = 0; j < a.q_segments.count; ++j) {
      if (a.q_segments.owners[j] != s) continue;
      const int32_t begin = a.q_segments.offsets[j], end = a.q_segments.offsets[j + 1];
      for (int32_t r = begin; r < end; r += int32_t(kRows))
        phases.rows[n++] = {int32_t(j), r, int32_t(least(kRows, end - r))};
    }
    if (n > phases.first_rows[s]) largest_pair = most(largest_pair, call.layout.blocks(phases.keys[s]));
  }
  phases.first_rows[a.samples] = n;

  const int64_t room = least(most(largest_pair, kShared / int64_t(sizeof(T))), largest_pair * all_pairs);
  phases.packed = static_cast<T*>(acquire(size_t(room) * sizeof(T)));
  for (int64_t pair = 0; pair < all_pairs; pair += phases.pairs) {
    phases.first_pair = pair;
    phases.pairs = 0;
    phases.start1[0] = phases.start2[0] = phases.offset[0] = 0;
    for (; pair + phases.pairs < all_pairs; ++phases.pairs) {
      const int64_t p = phases.pairs, sample = (pair + p) / a.heads;
      const int64_t tasks = phases.first_rows[sample + 1] - phases.first_rows[sample], keys = tasks ? phases.keys[sample] : 0;
      phases.offset[p + 1] = phases.offset[p] + call.layout.blocks(keys);
      if (phases.offset[p + 1] > room) break;
      phases.start1[p + 1] = phases.start1[p] + ceil_div(keys, kKeys);
      phases.start2[p + 1] = phases.start2[p] + tasks;
    }
    parallel(phases.start1[phases.pairs], [](void* c, int64_t task) { static_cast<Phases<T>*>(c)->pack(task); }, &phases,
             a.threads);
    parallel(phases.start2[phases.pairs], [](void* c, int64_t task) { static_cast<Phases<T>*>(c)->attend(task); }, &phases,
             a.threads);
  }
  release(phases.packed);
  release(lists);
}

template <class T> void run(const AttentionArgs& a) {
  Call<T> call(a);
  // One task a pair, unless that would load the threads unevenly or a pair is too large for a thread's scratch.
  int64_t total = 0, largest = 0, elements = 0;
  for (int64_t j = 0; j < a.q_segments.count; ++j) {
    const int64_t keys = call.keys_of(a.q_segments.owners[j]);
    const int64_t work = (a.q_segments.offsets[j + 1] - a.q_segments.offsets[j]) * most(keys, 1);
    total += work * a.heads;
    largest = most(largest, work);
    elements = most(elements, call.layout.blocks(keys));
  }
  if (!total) return;
  const bool even = a.threads == 1 || total >= largest * kTasksPerThread * a.threads;
  if (!even || elements * int64_t(sizeof(T)) > kOwn) {
    attend_in_phases(call);
    return;
  }
  call.own_elements = elements;
  parallel(a.samples * a.heads, [](void* c, int64_t task) { attend_pair(*static_cast<Call<T>*>(c), task); }, &call, a.threads);
}

}  // namespace

void attention(const AttentionArgs& args) {
#if defined(__AVX512BF16__)
  if (args.q.dtype == Dtype::bf16) return run<uint16_t>(args);
#endif
  run<float>(args);
}

}  // namespace salon::SALON_ISA_NS
