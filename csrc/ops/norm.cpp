// norm and modulate: mean and variance of a row, then an affine map. Two passes over a row that stays in L1.
#include "pool.h"
#include "table.h"
#include "vecmath.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int64_t kElements = 8192;  // work of one task
constexpr int kRows = 4;             // side by side

struct Moments { float mean, inverse; };  // the row becomes (x - mean) * inverse

// Of R rows side by side: each one's sums are a chain of additions.
template <int R, class X>
SALON_INLINE void moments(const X* const (&x)[R], int64_t cols, Norm kind, float eps, Moments (&m)[R]) {
  const int tail = int(cols % kLanes);
  const int64_t body = cols - tail;
  vf s[R], mean[R];
  for (int r = 0; r < R; ++r) {
    s[r] = mean[r] = set1(0);
    m[r].mean = 0;
  }
  if (kind == Norm::layer) {
    for (int64_t c = 0; c < body; c += kLanes)
      for (int r = 0; r < R; ++r) s[r] = s[r] + load(x[r] + c);
    for (int r = 0; r < R; ++r) {
      if (tail) s[r] = s[r] + load(x[r] + body, tail);
      m[r].mean = sum(s[r]) / float(cols);
      mean[r] = set1(m[r].mean);
      s[r] = set1(0);
    }
  }
  for (int64_t c = 0; c < body; c += kLanes)
    for (int r = 0; r < R; ++r) {
      const vf d = load(x[r] + c) - mean[r];
      s[r] = fma(d, d, s[r]);
    }
  for (int r = 0; r < R; ++r) {
    if (tail) {
      const vf d = keep_lanes(load(x[r] + body, tail) - mean[r], tail);
      s[r] = fma(d, d, s[r]);
    }
    m[r].inverse = 1.0f / __builtin_sqrtf(sum(s[r]) / float(cols) + eps);
  }
}

// o = (x - mean) * inverse * weight * (one + scale) + shift
template <class X, class O>
SALON_INLINE void affine(const X* x, O* o, int64_t cols, Moments m, const float* scale, const float* shift, float one,
                         const float* weight) {
  const vf mean = set1(m.mean), inverse = set1(m.inverse), plus = set1(one), zero = set1(0);
  int64_t c = 0;
  if (weight) {
    for (; c + kLanes <= cols; c += kLanes)
      store(o + c, fma((load(x + c) - mean) * inverse * load(weight + c), plus + load(scale + c), shift ? load(shift + c) : zero));
    if (const int n = int(cols - c))
      store(o + c, fma((load(x + c, n) - mean) * inverse * load(weight + c, n), plus + load(scale + c, n),
                       shift ? load(shift + c, n) : zero), n);
    return;
  }
  for (; c + kLanes <= cols; c += kLanes)
    store(o + c, fma((load(x + c) - mean) * inverse, plus + load(scale + c), shift ? load(shift + c) : zero));
  if (const int n = int(cols - c))
    store(o + c, fma((load(x + c, n) - mean) * inverse, plus + load(scale + c, n), shift ? load(shift + c, n) : zero), n);
}

template <int R, class O> SALON_INLINE void modulate_some(const ModulateArgs& a, int64_t row, int64_t& segment) {
  const float* x[R];
  Moments m[R];
  for (int r = 0; r < R; ++r) x[r] = row_of<const float>(a.x, row + r);
  moments(x, a.x.cols, a.kind, a.eps, m);
  for (int r = 0; r < R; ++r) {
    while (a.segments.offsets[segment + 1] <= row + r) ++segment;
    const int64_t sample = a.segments.owners[segment];
    affine(x[r], row_of<O>(a.out, row + r), a.x.cols, m[r], row_of<const float>(a.scale, sample),
           a.shift.data ? row_of<const float>(a.shift, sample) : nullptr, 1.0f, a.weight);
  }
}

template <class O> void modulate_rows(const ModulateArgs& a, int64_t begin, int64_t end) {
  int64_t segment = 0;  // they are few, rows many
  for (; begin + kRows <= end; begin += kRows) modulate_some<kRows, O>(a, begin, segment);
  for (; begin < end; ++begin) modulate_some<1, O>(a, begin, segment);
}

template <int R, class X, class O> SALON_INLINE void norm_some(const NormArgs& a, int64_t row) {
  const X* x[R];
  Moments m[R];
  for (int r = 0; r < R; ++r) x[r] = row_of<const X>(a.x, row + r);
  moments(x, a.x.cols, a.kind, a.eps, m);
  for (int r = 0; r < R; ++r) affine(x[r], row_of<O>(a.out, row + r), a.x.cols, m[r], a.weight, a.bias, 0.0f, nullptr);
}

template <class X, class O> void norm_rows(const NormArgs& a, int64_t begin, int64_t end) {
  for (; begin + kRows <= end; begin += kRows) norm_some<kRows, X, O>(a, begin);
  for (; begin < end; ++begin) norm_some<1, X, O>(a, begin);
}

}  // namespace

void modulate(const ModulateArgs& args) {
  struct Job { const ModulateArgs* a; int64_t grain; } job{&args, rows_per_task(args.x.cols, kElements)};
  parallel(ceil_div(args.x.rows, job.grain), [](void* context, int64_t task) {
    const Job& j = *static_cast<Job*>(context);
    const int64_t begin = task * j.grain, end = least(begin + j.grain, j.a->x.rows);
    if (j.a->out.dtype == Dtype::bf16) modulate_rows<uint16_t>(*j.a, begin, end);
    else modulate_rows<float>(*j.a, begin, end);
  }, &job, args.threads);
}

void norm(const NormArgs& args) {
  struct Job { const NormArgs* a; int64_t grain; } job{&args, rows_per_task(args.x.cols, kElements)};
  parallel(ceil_div(args.x.rows, job.grain), [](void* context, int64_t task) {
    const Job& j = *static_cast<Job*>(context);
    const NormArgs& a = *j.a;
    const int64_t begin = task * j.grain, end = least(begin + j.grain, a.x.rows);
    const bool x16 = a.x.dtype == Dtype::bf16, o16 = a.out.dtype == Dtype::bf16;
    if (x16 && o16) norm_rows<uint16_t, uint16_t>(a, begin, end);
    else if (x16) norm_rows<uint16_t, float>(a, begin, end);
    else if (o16) norm_rows<float, uint16_t>(a, begin, end);
    else norm_rows<float, float>(a, begin, end);
  }, &job, args.threads);
}

}  // namespace salon::SALON_ISA_NS
