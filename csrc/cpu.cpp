#include "cpu.h"

#include <cstdlib>
#include <stdexcept>

#if defined(SALON_X86) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace salon {
namespace {

#ifdef SALON_X86
// Linux gives the tiles' 8 KiB of state only to processes that ask (arch_prctl ARCH_REQ_XCOMP_PERM).
bool tiles_permitted() {
#ifdef __linux__
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  static const bool ok = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return ok;
#else
  return false;
#endif
}

struct Features {
  bool avx2, avx512, avx512_bf16, amx_bf16;
  Features() {
    __builtin_cpu_init();
    avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    avx512_bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
    amx_bf16 = avx512_bf16 && __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") &&
               tiles_permitted();
  }
};
const Features& features() {
  static const Features f;
  return f;
}
#endif

}  // namespace

std::vector<std::string> isa_levels() {
  std::vector<std::string> names;
#ifdef SALON_X86
  const Features& f = features();
  if (f.amx_bf16) names.emplace_back("amx_bf16");
  if (f.avx512_bf16) names.emplace_back("avx512_bf16");
  if (f.avx512) names.emplace_back("avx512");
  if (f.avx2) names.emplace_back("avx2");
#endif
  names.emplace_back("portable");
  return names;
}

const Table& pick(const std::string& name) {
  std::string want = name;
  std::string source = "isa";
  if (want.empty()) {
    const char* forced = std::getenv("SALON_ISA");
    if (forced && *forced) {
      want = forced;
      source = "SALON_ISA";
    }
  }
  const std::vector<std::string> levels = isa_levels();
  if (want.empty()) want = levels.front();
#ifdef SALON_X86
  const Features& f = features();
  if (want == "amx_bf16" && f.amx_bf16) return amx_bf16::table;
  if (want == "amx_model" && f.avx512_bf16) return amx_model::table;
  if (want == "avx512_bf16" && f.avx512_bf16) return avx512_bf16::table;
  if (want == "avx512" && f.avx512) return avx512::table;
  if (want == "avx2" && f.avx2) return avx2::table;
#endif
  if (want == "portable") return portable::table;
  std::string all;
  for (const std::string& level : levels) all += (all.empty() ? "" : ", ") + level;
  throw std::invalid_argument(source + "=" + want + ": this machine runs " + all);
}

}  // namespace salon
