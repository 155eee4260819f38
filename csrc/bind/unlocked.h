// How the bindings call kernels: other Python threads run meanwhile, and numbers are computed in the kernels' mode.
#pragma once
#include <pybind11/pybind11.h>

#include <unistd.h>

#include "../float_mode.h"

namespace salon {

// Releases Python's lock (the GIL) while it lives. A thread that asks for the lock when the interpreter ends never gets
// it: Python ends such a thread by unwinding its stack, which would end the whole process on its way through a
// destructor (as with pybind11's own guard). Here the thread stops for good instead, and the main thread decides how the
// process ends.
class Unlocked {
 public:
  Unlocked() : thread_(PyEval_SaveThread()) {}
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  ~Unlocked() {
    try {
      PyEval_RestoreThread(thread_);
    } catch (...) {  // glibc's pthread_exit unwinds as an exception does
      for (;;) pause();
    }
  }

 private:
  PyThreadState* thread_;
  FloatMode mode_;
};

}  // namespace salon
