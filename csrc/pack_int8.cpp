#include "pack_int8.h"

#include "round_int8.h"

namespace salon {
namespace {

template <class T> float pack_row(const T* row, std::int64_t k, std::int8_t* panel, std::int64_t column, Rounding& sums) {
  const Scale s = scale_of(row, k, kMost8);
  std::int8_t* out = panel + column * kQuad;
  double changed = 0, whole = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    const float v = number(row[i]);
    const std::int32_t q = s.inverse == 0 ? 0 : rounded(v, s.inverse);
    out[i / kQuad * kQuad * kPanel + i % kQuad] = std::int8_t(q);
    const double off = double(v) - double(s.scale) * q;
    changed += off * off;
    whole += double(v) * v;
  }
  sums.changed += changed;
  sums.whole += whole;
  return s.scale;
}

}  // namespace

float pack_int8(const float* row, std::int64_t k, std::int8_t* panel, std::int64_t column, Rounding& sums) {
  return pack_row(row, k, panel, column, sums);
}
float pack_int8(const std::uint16_t* row, std::int64_t k, std::int8_t* panel, std::int64_t column, Rounding& sums) {
  return pack_row(row, k, panel, column, sums);
}

}  // namespace salon
