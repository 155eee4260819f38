// Per-head RMS norm of q and k, then rotary embedding, in place: one pass over the q and k columns of qkv.
#include "memory.h"
#include "pool.h"
#include "table.h"
#include "vecmath.h"

namespace salon::SALON_ISA_NS {
namespace {


// (x0, x1, x2, x3, ...) -> (x1, x0, x3, x2, ...)
SALON_INLINE vf swap_pairs(vf x) {
#if defined(__AVX512F__)
  return {_mm512_permute_ps(x.v, 0xb1)};
#elif defined(__AVX2__)
  return {_mm256_permute_ps(x.v, 0xb1)};
#else
  return {vf_storage{x.v[1], x.v[0], x.v[3], x.v[2]}};
#endif
}

// (x0, x1, ...) -> (x0, x0, x1, x1, ...): the lower half of the lanes.
SALON_INLINE vf twice(vf x) {
#if defined(__AVX512F__)
  return {_mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), x.v)};
#elif defined(__AVX2__)
  return {_mm256_permutevar8x32_ps(x.v, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3))};
#else
  vf r;
  for (int i = 0; i < kLanes; ++i) r.v[i] = x.v[i / 2];
  return r;
#endif
}

// The tables of one row, a value for each column: cos, and -sin on even columns, sin on odd ones.
struct Turn { const float *cos, *sin; };
SALON_INLINE Turn spread(const float* cos, const float* sin, int64_t width, float* room) {
  float* lift = room + (width + kLanes - 1) / kLanes * kLanes;
  alignas(64) static const float signs[16] = {-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1};
  for (int64_t c = 0; c < width; c += kLanes) {
    const int pairs = int(least(kLanes, width - c) / 2);
    store(room + c, twice(load(cos + c / 2, pairs)));
    store(lift + c, twice(load(sin + c / 2, pairs)) * load(signs));
  }
  return {room, lift};
}

// The first n of a vector's lanes, a whole one where W.
template <bool W, class T> SALON_INLINE vf take(const T* p, int n) {
  if constexpr (W) return load(p);
  else return load(p, n);
}
template <bool W, class T> SALON_INLINE void give(T* p, vf x, int n) {
  if constexpr (W) store(p, x);
  else store(p, x, n);
}

// The sum of squares of each head.
template <class T> SALON_INLINE void head_squares(const T* x, int64_t count, int64_t width, float* squares) {
  const int tail = int(width % kLanes);
  const int64_t body = width - tail;
  for (int64_t i = 0; i < count; ++i, x += width) {
    vf s = set1(0);
    for (int64_t c = 0; c < body; c += kLanes) {
      const vf v = load(x + c);
      s = fma(v, v, s);
    }
    if (tail) {
      const vf v = load(x + body, tail);
      s = fma(v, v, s);
    }
    squares[i] = sum(s);
  }
}

struct Vectors { const float* weight; const Turn* turn; };  // null: no norm, no rotation

template <bool W, class T> SALON_INLINE void finish(T* x, T* plain, float inverse, const Vectors& h, int64_t c, int n) {
  vf v = take<W>(x + c, n);
  if (h.weight) v = v * set1(inverse) * take<W>(h.weight + c, n);
  if (plain) give<W>(plain + c, v, n);
  if (h.turn) v = fma(swap_pairs(v), take<W>(h.turn->sin + c, n), v * take<W>(h.turn->cos + c, n));
  give<W>(x + c, v, n);
}

template <class T>
SALON_INLINE void heads(T* x, T* plain, int64_t count, int64_t width, const Vectors& h, const float* inverse) {
  const int tail = int(width % kLanes);
  const int64_t body = width - tail;
  for (int64_t i = 0; i < count; ++i, x += width) {
    T* apart = plain ? plain + i * width : nullptr;
    for (int64_t c = 0; c < body; c += kLanes) finish<true>(x, apart, inverse[i], h, c, kLanes);
    if (tail) finish<false>(x, apart, inverse[i], h, body, tail);
  }
}

constexpr int64_t kTogether = 8;  // rows whose roots and divisions are done ahead, many at a time: heads would wait for each

template <class T> void rows(const QkNormRopeArgs& a, int64_t begin, int64_t end) {
  const int64_t inner = a.heads * a.width;
  const int64_t tables = 2 * (a.width + kLanes), each = a.heads + a.kv_heads;
  float* room = static_cast<float*>(thread_scratch(size_t(tables + kTogether * each + kLanes) * sizeof(float)));
  float* inverse = room + tables;
  for (int64_t first = begin; first < end; first += kTogether) {
    const int64_t last = least(first + kTogether, end);
    for (int64_t r = first; r < last; ++r) {
      if (a.q_weight) head_squares(row_of<T>(a.qkv, r), a.heads, a.width, inverse + (r - first) * each);
      if (a.k_weight) head_squares(row_of<T>(a.qkv, r) + inner, a.kv_heads, a.width, inverse + (r - first) * each + a.heads);
    }
    for (int64_t i = 0; i < (last - first) * each; i += kLanes)  // past the end there is room for a vector
      store(inverse + i, set1(1) / sqrt(load(inverse + i) / set1(float(a.width)) + set1(a.eps)));
    for (int64_t r = first; r < last; ++r) {
      Turn turn{};
      if (a.cos.data) turn = spread(row_of<const float>(a.cos, r), row_of<const float>(a.sin, r), a.width, room);
      const Turn* turned = a.cos.data ? &turn : nullptr;
      T* q = row_of<T>(a.qkv, r);
      T* plain = a.plain_q.data ? row_of<T>(a.plain_q, r) : nullptr;
      const float* mine = inverse + (r - first) * each;
      if (a.q_weight || turned || plain) heads<T>(q, plain, a.heads, a.width, {a.q_weight, turned}, mine);
      if (a.k_weight || turned) heads<T>(q + inner, nullptr, a.kv_heads, a.width, {a.k_weight, turned}, mine + a.heads);
    }
  }
}

struct Job { const QkNormRopeArgs* a; int64_t grain; };

}  // namespace

void qk_norm_rope(const QkNormRopeArgs& args) {
  const int64_t cols = (args.heads + args.kv_heads) * args.width;
  if (!cols) return;
  Job job{&args, cols >= 32768 ? 1 : 32768 / cols};
  parallel((args.qkv.rows + job.grain - 1) / job.grain, [](void* context, int64_t task) {
    const Job& j = *static_cast<Job*>(context);
    const int64_t begin = task * j.grain, end = least(begin + j.grain, j.a->qkv.rows);
    if (j.a->qkv.dtype == Dtype::bf16) rows<uint16_t>(*j.a, begin, end);
    else rows<float>(*j.a, begin, end);
  }, &job, args.threads);
}

}  // namespace salon::SALON_ISA_NS
