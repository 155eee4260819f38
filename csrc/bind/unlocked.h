// How the bindings call kernels: other Python threads run meanwhile, and numbers are computed in the kernels' mode.
#pragma once
#include <pybind11/pybind11.h>

#include <unistd.h>

#include "../float_mode.h"

namespace salon {

// Gives Python's lock (the GIL) up while it lives. A thread that asks for it back when the interpreter ends never gets it:
// Python ends such a thread by unwinding its stack, which would end the whole process on its way through a destructor
// (pybind11's own guard does). Here the thread stops for good instead, and the process ends as its main thread says.
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
