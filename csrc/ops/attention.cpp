// Ragged attention with adapter terms, flash style: one pass over a sample's keys for every block of its query rows.
//
// A (sample, head) pair's keys and values are packed once (attention_layout.h) and used by all of its query rows. Where
// there are many pairs to a thread, one task does a pair from packing to output. Otherwise phase 1 packs the blocks of
// as many pairs as fit in kShared bytes into a shared buffer, and phase 2 takes blocks of query rows.
#include "attention_terms.h"
#include "pool.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int64_t kShared = int64_t(32) << 20;  // bytes of packed keys and values of one group of pairs in phase 1
constexpr int64_t kOwn = int64_t(4) << 20;      // bytes of a pair that a thread may keep in its scratch
constexpr int64_t kTasksPerThread = 8;          // with so many large pairs a thread, one task each, the load is even

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

// to[c] = at(c), kLanes columns at a time.
template <class T, class F> SALON_INLINE void put_row(T* to, int64_t width, F at) {
  int64_t c = 0;
  for (; c + 2 * kLanes <= width; c += 2 * kLanes) store_pair(to + c, at(c), at(c + kLanes));
  for (; c < width; c += kLanes) {
    if (width - c >= kLanes) store(to + c, at(c));
    else store(to + c, at(c), int(width - c));
  }
}

// What is added to the scores of a segment's rows from `begin` on.
template <class T> SALON_INLINE Added added_to(const Call<T>& call, int64_t segment, int64_t begin, int64_t head) {
  const AttentionArgs& a = call.a;
  Added added;
  added.causal = a.causal;
  added.place = a.q_places[segment] + begin - a.q_segments.offsets[segment];
  if (a.bias.data) {
    added.bias = row_of<const float>(a.bias, head);
    added.reach = a.bias.cols / 2;
    added.inverse = 1.0f / call.scale;
  }
  return added;
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
  if (keys) {
    const Added added = added_to(call, segment, begin, head);
    // Whole blocks of keys that no row of these sees are left out.
    const int64_t seen = a.causal ? least(keys, round_up(added.place + n, kKeys)) : keys;
    attend(scratch.q, n, packed, seen, layout, call.scale, scratch.state, scratch.scores, added);
  }

  const bool joined = terms && !a.term_out.data;
  float* inverses = scratch.state.decays;
  if (keys)
    for (int64_t r = 0; r < n; r += kLanes) store(inverses + r, set1(1.0f) / each_sum(scratch.state.sums + r * kLanes));
  for (int64_t r = 0; r < n; ++r) {
    T* out = row_of<T>(a.out, begin + r) + head * layout.width;
    const float* from = scratch.state.out + r * layout.cols;
    const float* extra = scratch.term_out + r * layout.cols;
    const vf inverse = set1(keys ? inverses[r] : 0);
    const auto at = [&](int64_t c) {
      const vf x = joined ? load(extra + c) : set1(0);
      return keys ? fma(load(from + c), inverse, x) : x;
    };
    put_row(out, layout.width, at);
    if (!terms || joined) continue;
    T* apart = row_of<T>(a.term_out, begin + r) + head * layout.width;
    put_row(apart, layout.width, [&](int64_t c) { return load(extra + c); });
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
  char* lists = static_cast<char*>(a.memory->take(list_bytes + size_t(units) * sizeof(Unit)));
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
  phases.packed = static_cast<T*>(a.memory->take(size_t(room) * sizeof(T)));
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
}

template <class T> void run(const AttentionArgs& a) {
  Call<T> call(a);
  // One task for each pair, unless that would load the threads unevenly or a pair is too large for a thread's scratch.
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
