// Which instruction sets this machine runs, and the table of kernels for one of them.
#pragma once
#include <string>
#include <vector>

#include "table.h"

namespace salon {

// Names of the usable instruction sets, best first. "portable" is always the last.
std::vector<std::string> isa_levels();

// The table for `name`; empty: SALON_ISA, else the best. Throws std::invalid_argument where the machine cannot run it.
// "amx_model" (AMX kernels over tiles computed with AVX512, for tests on machines without AMX) must be asked for.
const Table& pick(const std::string& name);

}  // namespace salon
