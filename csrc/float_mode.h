// How numbers are computed while kernels run: in one mode, whatever the calling thread has set.
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <cfenv>
#endif

namespace salon {

// While it lives, the thread rounds to nearest and takes denormal numbers for zero, as AMX and the bf16 dot product always
// do. Then the thread gets its own mode back. The mode belongs to a thread: without this, bits would depend on which
// thread takes a task.
class FloatMode {
 public:
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;
#if defined(__x86_64__)
  FloatMode() : saved_(_mm_getcsr()) { _mm_setcsr(kMode); }
  ~FloatMode() { _mm_setcsr(saved_); }

 private:
  static constexpr unsigned kMode = 0x1F80 | 0x8000 | 0x0040;  // all exceptions masked, to nearest; FTZ; DAZ
  unsigned saved_;
#else
  FloatMode() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~FloatMode() { std::fesetenv(&saved_); }

 private:
  std::fenv_t saved_;
#endif
};

}  // namespace salon
