#include "call_memory.h"

#include "memory.h"

namespace salon {

constexpr std::size_t kHeader = 64;  // holds the address, and keeps what follows aligned

CallMemory::~CallMemory() {
  while (last_) {
    void* before = *static_cast<void**>(last_);
    release(last_);
    last_ = before;
  }
}

void* CallMemory::take(std::size_t bytes) {
  void* block = acquire(kHeader + bytes);
  *static_cast<void**>(block) = last_;
  last_ = block;
  return static_cast<char*>(block) + kHeader;
}

}  // namespace salon
