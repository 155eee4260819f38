// solver_step: guidance and one linear solver update of the latents, one pass over everything.
#include "pool.h"
#include "table.h"
#include "vecmath.h"

namespace salon::SALON_ISA_NS {
namespace {

SALON_INLINE vf read(const float* p, int n) { return n == kLanes ? load(p) : load(p, n); }
SALON_INLINE void write(float* p, vf v, int n) { n == kLanes ? store(p, v) : store(p, v, n); }

void update(const SolverArgs& s, int64_t j) {
  const int64_t begin = s.segments.offsets[j], end = s.segments.offsets[j + 1];
  const int64_t first = s.term_offsets[j], last = s.term_offsets[j + 1];
  const vf a = set1(s.a[j]), b = set1(s.b[j]);
  const bool past = s.b[j] != 0.0f;
  const bool one = last - first == 1;  // most images: its row and weight are taken out of the loop over columns
  const vf weight = set1(one ? s.weights[first] : 0.0f);
  for (int64_t r = begin; r < end; ++r) {
    const float* origin = row_of<const float>(s.velocity, s.origins[j] + (r - begin));
    const float* term = one ? row_of<const float>(s.velocity, s.terms[first] + (r - begin)) : nullptr;
    const float* base = s.base.data ? row_of<const float>(s.base, r) : row_of<const float>(s.latents, r);
    const float* previous = past ? row_of<const float>(s.previous, r) : nullptr;
    float* latents = row_of<float>(s.latents, r);
    float* keep = s.keep.data ? row_of<float>(s.keep, r) : nullptr;
    for (int64_t c = 0; c < s.latents.cols; c += kLanes) {
      const int n = s.latents.cols - c < kLanes ? int(s.latents.cols - c) : kLanes;
      const vf o = read(origin + c, n);
      vf v = o;
      if (one) {
        v = fma(weight, read(term + c, n) - o, o);
      } else {
        for (int64_t k = first; k < last; ++k) {  // in the order of the terms: a sum has the same bits in any batch
          const float* other = row_of<const float>(s.velocity, s.terms[k] + (r - begin));
          v = fma(set1(s.weights[k]), read(other + c, n) - o, v);
        }
      }
      vf x = fma(a, v, read(base + c, n));
      if (past) x = fma(b, read(previous + c, n), x);
      write(latents + c, x, n);
      if (keep) write(keep + c, v, n);
    }
  }
}

}  // namespace

void solver_step(const SolverArgs& args) {
  parallel(args.segments.count, [](void* context, int64_t task) {
    update(*static_cast<const SolverArgs*>(context), task);
  }, const_cast<SolverArgs*>(&args), args.threads);
}

}  // namespace salon::SALON_ISA_NS
