// blend: rows that follow a mixture of two others, as far as their weights say.
#include "pool.h"
#include "table.h"
#include "vecmath.h"

namespace salon::SALON_ISA_NS {
namespace {

SALON_INLINE vf read(const float* p, int n) { return n == kLanes ? load(p) : load(p, n); }
SALON_INLINE void write(float* p, vf v, int n) { n == kLanes ? store(p, v) : store(p, v, n); }

void mix(const BlendArgs& args, int64_t j) {
  const vf a = set1(args.a[j]), b = set1(args.b[j]);
  for (int64_t r = args.segments.offsets[j]; r < args.segments.offsets[j + 1]; ++r) {
    const float weight = *row_of<const float>(args.weights, r);
    const vf w = set1(weight), rest = set1(1.0f - weight);
    float* x = row_of<float>(args.x, r);
    const float* y = row_of<const float>(args.y, r);
    const float* z = row_of<const float>(args.z, r);
    for (int64_t c = 0; c < args.x.cols; c += kLanes) {
      const int n = args.x.cols - c < kLanes ? int(args.x.cols - c) : kLanes;
      const vf other = fma(b, read(z + c, n), a * read(y + c, n));
      write(x + c, fma(w, read(x + c, n), rest * other), n);
    }
  }
}

}  // namespace

void blend(const BlendArgs& args) {
  parallel(args.segments.count, [](void* context, int64_t task) {
    mix(*static_cast<const BlendArgs*>(context), task);
  }, const_cast<BlendArgs*>(&args), args.threads);
}

}  // namespace salon::SALON_ISA_NS
