// The op timestep_embedding: a few numbers a step, the same for every ISA.
#pragma once
#include <cstdint>

namespace salon {

// out [rows, width] = [cos(t f), sin(t f)], f_i = max_period^(-i / (width / 2)), for each of `rows` timesteps t: each
// factor rounded to float, as PyTorch does it. `width` is even.
void timestep_embedding(const float* timesteps, std::int64_t rows, std::int64_t width, double max_period, float* out);

}  // namespace salon
