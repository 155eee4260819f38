// Activation memory: 64-byte aligned blocks that are kept and handed out again, so that a steady step allocates nothing.
// For batches of any sizes, the kept blocks stay within a few times the most that was ever in use. They are given back
// when memory runs out.
#pragma once
#include <cstddef>
#include <cstdint>

namespace salon {

struct MemoryStats {
  std::uint64_t in_use;          // bytes handed out now
  std::uint64_t cached;          // bytes kept for reuse
  std::uint64_t system_calls;    // blocks ever asked of the operating system
  std::uint64_t peak;            // largest in_use + cached so far
  std::uint64_t most_in_use;     // largest in_use so far
};

// A block of at least `bytes` bytes; throws std::bad_alloc. Contents are unspecified.
void* acquire(std::size_t bytes);
void release(void* block) noexcept;
MemoryStats memory_stats() noexcept;
void trim_memory() noexcept;  // gives all kept blocks back to the operating system

// The calling thread's own scratch of at least `bytes` bytes, 64-byte aligned, valid until the next call from this
// thread with a larger size. Kept for the life of the thread. Throws std::bad_alloc.
void* thread_scratch(std::size_t bytes);

}  // namespace salon
