#include "timestep_embedding.h"

#include "elementary.h"
#include "float_mode.h"

namespace salon {

void timestep_embedding(const float* timesteps, std::int64_t rows, std::int64_t width, double max_period, float* out) {
  const FloatMode mode;
  const std::int64_t half = width / 2;
  const float rate = -float(elementary::log(double(float(max_period))));
  for (std::int64_t i = 0; i < half; ++i) {
    const float frequency = float(elementary::exp(double(rate * float(i) / float(half))));
    for (std::int64_t r = 0; r < rows; ++r) {
      const elementary::CosSin at = elementary::cos_sin(double(timesteps[r] * frequency));
      out[r * width + i] = float(at.cos);
      out[r * width + half + i] = float(at.sin);
    }
  }
}

}  // namespace salon
