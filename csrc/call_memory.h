// Blocks that an op takes for the time of one call. The binding owns them: kernels are compiled without exceptions, so no
// destructor of theirs runs when a task throws std::bad_alloc through them.
#pragma once
#include <cstddef>

namespace salon {

class CallMemory {
 public:
  CallMemory() = default;
  CallMemory(const CallMemory&) = delete;
  CallMemory& operator=(const CallMemory&) = delete;
  ~CallMemory();

  // A block as of `acquire`, kept until the call ends, for the thread that makes the call. Throws std::bad_alloc.
  void* take(std::size_t bytes);

 private:
  void* last_ = nullptr;  // each block begins with the address of the one before it
};

}  // namespace salon
