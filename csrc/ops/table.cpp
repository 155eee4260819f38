// The table of one instruction set.
#include "table.h"

#define SALON_STRING_(x) #x
#define SALON_STRING(x) SALON_STRING_(x)

namespace salon::SALON_ISA_NS {
SALON_DECLARE_KERNELS

extern const Table table;
const Table table = {
    SALON_STRING(SALON_ISA_NS),
#if defined(__AVX512BF16__)
    true,
#else
    false,
#endif
    linear, modulate, norm, cast, add, gated, qk_norm_rope, attention, embed, solver_step, blend, conv2d, group_norm_silu, peak,
};
}  // namespace salon::SALON_ISA_NS
