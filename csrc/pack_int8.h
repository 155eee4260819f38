// Rounds rows of weights into panels of int8.
#pragma once
#include <cstdint>

#include "tensor.h"

namespace salon {

struct Rounding { double changed = 0, whole = 0; };  // sums of squares: of what rounding changed, and of the weights

// Rounds k weights into column `column` of a panel that holds zeros. Returns their scale.
float pack_int8(const float* row, std::int64_t k, std::int8_t* panel, std::int64_t column, Rounding& sums);
float pack_int8(const std::uint16_t* row, std::int64_t k, std::int8_t* panel, std::int64_t column, Rounding& sums);

}  // namespace salon
