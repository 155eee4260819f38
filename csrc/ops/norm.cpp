// norm and modulate: mean and variance of a row, then an affine map. Two passes over a row that stays in L1.
#include "pool.h"
#include "table.h"
#include "vecmath.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int64_t kElements = 8192;  // work of one task


struct Moments { float mean, inverse; };  // the row becomes (x - mean) * inverse

template <class X> SALON_INLINE Moments moments(const X* x, int64_t cols, Norm kind, float eps) {
  const int tail = int(cols % kLanes);
  const int64_t body = cols - tail;
  float mean = 0;
  if (kind == Norm::layer) {
    vf s = set1(0);
    for (int64_t c = 0; c < body; c += kLanes) s = s + load(x + c);
    if (tail) s = s + load(x + body, tail);
    mean = sum(s) / float(cols);
  }
  const vf m = set1(mean);
  vf s = set1(0);
  for (int64_t c = 0; c < body; c += kLanes) {
    const vf d = load(x + c) - m;
    s = fma(d, d, s);
  }
  if (tail) {
    const vf d = keep_lanes(load(x + body, tail) - m, tail);
    s = fma(d, d, s);
  }
  return {mean, 1.0f / __builtin_sqrtf(sum(s) / float(cols) + eps)};
}

// o = (x - mean) * inverse * (one + scale) + shift
template <class X, class O>
SALON_INLINE void affine(const X* x, O* o, int64_t cols, Moments m, const float* scale, const float* shift, float one) {
  const vf mean = set1(m.mean), inverse = set1(m.inverse), plus = set1(one), zero = set1(0);
  int64_t c = 0;
  for (; c + kLanes <= cols; c += kLanes)
    store(o + c, fma((load(x + c) - mean) * inverse, plus + load(scale + c), shift ? load(shift + c) : zero));
  if (const int n = int(cols - c))
    store(o + c, fma((load(x + c, n) - mean) * inverse, plus + load(scale + c, n), shift ? load(shift + c, n) : zero), n);
}

template <class O> void modulate_rows(const ModulateArgs& a, int64_t begin, int64_t end) {
  // The first segment that reaches past `begin`; segments are few, rows many.
  int64_t j = 0;
  while (j < a.segments.count && a.segments.offsets[j + 1] <= begin) ++j;
  for (int64_t r = begin; r < end; ++r) {
    while (a.segments.offsets[j + 1] <= r) ++j;
    const int64_t sample = a.segments.owners[j];
    const float* x = row_of<const float>(a.x, r);
    affine(x, row_of<O>(a.out, r), a.x.cols, moments(x, a.x.cols, a.kind, a.eps), row_of<const float>(a.scale, sample),
           row_of<const float>(a.shift, sample), 1.0f);
  }
}

template <class X, class O> void norm_rows(const NormArgs& a, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const X* x = row_of<const X>(a.x, r);
    affine(x, row_of<O>(a.out, r), a.x.cols, moments(x, a.x.cols, a.kind, a.eps), a.weight, a.bias, 0.0f);
  }
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
