// Per-head RMS norm of q and k, then rotary embedding, in place: one pass over the q and k columns of qkv.
#include "memory.h"
#include "pool.h"
#include "table.h"
#include "vecmath.h"

namespace salon::SALON_ISA_NS {
namespace {

SALON_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

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

// Tables of one row for whole vectors: turn[e] = cos, lift[e] = -sin on even columns, sin on odd ones.
struct Turn { const float *cos, *sin; };
SALON_INLINE Turn spread(const float* cos, const float* sin, int64_t width, float* room) {
  float* turn = room;
  float* lift = room + width;
  for (int64_t i = 0; i < width / 2; ++i) {
    turn[2 * i] = turn[2 * i + 1] = cos[i];
    lift[2 * i] = -sin[i];
    lift[2 * i + 1] = sin[i];
  }
  return {turn, lift};
}

template <class T> SALON_INLINE vf take(const T* p, int n) { return n == kLanes ? load(p) : load(p, n); }
template <class T> SALON_INLINE void give(T* p, vf x, int n) {
  if (n == kLanes) store(p, x);
  else store(p, x, n);
}

template <class T>
SALON_INLINE void head(T* x, T* plain, int64_t width, const float* weight, const Turn* turn, float eps) {
  float inverse = 1.0f;
  if (weight) {
    vf squares = set1(0);
    for (int64_t c = 0; c < width; c += kLanes) {
      const vf v = take(x + c, int(least(kLanes, width - c)));
      squares = fma(v, v, squares);
    }
    inverse = 1.0f / __builtin_sqrtf(sum(squares) / float(width) + eps);
  }
  const vf scale = set1(inverse);
  for (int64_t c = 0; c < width; c += kLanes) {
    const int n = int(least(kLanes, width - c));
    vf v = take(x + c, n);
    if (weight) v = v * scale * take(weight + c, n);
    if (plain) give(plain + c, v, n);
    if (turn) v = fma(swap_pairs(v), take(turn->sin + c, n), v * take(turn->cos + c, n));
    give(x + c, v, n);
  }
}

template <class T> void rows(const QkNormRopeArgs& a, int64_t begin, int64_t end) {
  float* room = static_cast<float*>(thread_scratch(size_t(a.width) * 2 * sizeof(float)));
  const int64_t inner = a.heads * a.width;
  for (int64_t r = begin; r < end; ++r) {
    Turn turn{};
    if (a.cos.data) turn = spread(row_of<const float>(a.cos, r), row_of<const float>(a.sin, r), a.width, room);
    const Turn* turned = a.cos.data ? &turn : nullptr;
    T* q = row_of<T>(a.qkv, r);
    T* plain = a.plain_q.data ? row_of<T>(a.plain_q, r) : nullptr;
    if (a.q_weight || turned || plain)
      for (int64_t c = 0; c < inner; c += a.width) head(q + c, plain ? plain + c : nullptr, a.width, a.q_weight, turned, a.eps);
    if (a.k_weight || turned)
      for (int64_t c = inner; c < 2 * inner; c += a.width) head<T>(q + c, nullptr, a.width, a.k_weight, turned, a.eps);
  }
}

struct Job { const QkNormRopeArgs* a; int64_t grain; };

}  // namespace

void qk_norm_rope(const QkNormRopeArgs& args) {
  const int64_t cols = 2 * args.heads * args.width;
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
