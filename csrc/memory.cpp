#include "memory.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include <pthread.h>

namespace salon {
namespace {

constexpr std::size_t kHeader = 64;  // keeps the block's size class in front of it, and the block aligned

// Eight classes to the power of two: at most 12.5 % of a block is lost.
std::size_t size_class(std::size_t bytes) {
  if (bytes <= 512) return 512;
  std::size_t step = 64;
  while (step * 16 <= bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

constexpr std::size_t kKept = 3;  // blocks in use and kept together are at most so many times the most ever in use

// Free blocks of one size, and the time when one of them was last taken or returned.
struct Shelf {
  std::vector<void*> blocks;
  std::uint64_t used = 0;
};

struct Cache {
  std::mutex mutex;
  std::map<std::size_t, Shelf> shelves;
  std::uint64_t clock = 0;
  MemoryStats stats{};

  void count_in_use(std::size_t size) noexcept {
    stats.in_use += size;
    if (stats.in_use > stats.most_in_use) stats.most_in_use = stats.in_use;
    if (stats.in_use + stats.cached > stats.peak) stats.peak = stats.in_use + stats.cached;
  }

  void free_one(std::map<std::size_t, Shelf>::iterator shelf) noexcept {
    std::free(static_cast<char*>(shelf->second.blocks.back()) - kHeader);
    shelf->second.blocks.pop_back();
    stats.cached -= shelf->first;
  }

  // Gives kept blocks back until at most `most` bytes are held, beginning with the size that is unused for longest.
  void keep_within(std::size_t most) noexcept {
    while (stats.cached && stats.in_use + stats.cached > most) {
      auto oldest = shelves.end();
      for (auto shelf = shelves.begin(); shelf != shelves.end(); ++shelf)
        if (!shelf->second.blocks.empty() && (oldest == shelves.end() || shelf->second.used < oldest->second.used)) oldest = shelf;
      while (!oldest->second.blocks.empty() && stats.in_use + stats.cached > most) free_one(oldest);
    }
  }
};

Cache& cache() {
  static Cache* c = [] {
    // A fork copies the mutex in its present state, but not the thread that may hold it. So it is free at every fork.
    pthread_atfork([] { cache().mutex.lock(); }, [] { cache().mutex.unlock(); }, [] { cache().mutex.unlock(); });
    return new Cache();  // leaked on purpose: tensors may outlive static destruction
  }();
  return *c;
}

// Made when the library is loaded, as the pool is (pool.cpp): a fork amid its making would stop the child.
[[maybe_unused]] const bool made_at_load = (cache(), true);

// Null only if memory runs out even without the kept blocks.
void* ask_system(std::size_t bytes) noexcept {
  void* block = std::aligned_alloc(64, bytes);
  if (block) return block;
  trim_memory();
  return std::aligned_alloc(64, bytes);
}

struct Scratch {
  void* data = nullptr;
  std::size_t size = 0;
  ~Scratch() { std::free(data); }
};

}  // namespace

void* acquire(std::size_t bytes) {
  const std::size_t size = size_class(bytes);
  Cache& c = cache();
  {
    std::lock_guard<std::mutex> lock(c.mutex);
    // A block of this size, or of up to half as much again: batches of ever new sizes share the same blocks.
    for (auto shelf = c.shelves.lower_bound(size); shelf != c.shelves.end() && shelf->first <= size + size / 2; ++shelf) {
      if (shelf->second.blocks.empty()) continue;
      void* block = shelf->second.blocks.back();
      shelf->second.blocks.pop_back();
      shelf->second.used = ++c.clock;
      c.stats.cached -= shelf->first;
      c.count_in_use(shelf->first);
      return block;
    }
    ++c.stats.system_calls;
    const std::size_t in_use = c.stats.in_use + size;  // what was kept makes room before more is asked for
    c.keep_within(kKept * (in_use > c.stats.most_in_use ? in_use : c.stats.most_in_use) - size);
  }
  char* base = static_cast<char*>(ask_system(size + kHeader));
  if (!base) throw std::bad_alloc();
  {
    std::lock_guard<std::mutex> lock(c.mutex);
    c.count_in_use(size);
  }
  *reinterpret_cast<std::size_t*>(base) = size;
  return base + kHeader;
}

void release(void* block) noexcept {
  if (!block) return;
  const std::size_t size = *reinterpret_cast<std::size_t*>(static_cast<char*>(block) - kHeader);
  Cache& c = cache();
  std::lock_guard<std::mutex> lock(c.mutex);
  c.stats.in_use -= size;
  try {
    Shelf& shelf = c.shelves[size];
    shelf.blocks.push_back(block);
    shelf.used = ++c.clock;
    c.stats.cached += size;
  } catch (...) {  // no room to remember it: let it go
    std::free(static_cast<char*>(block) - kHeader);
  }
}

MemoryStats memory_stats() noexcept {
  Cache& c = cache();
  std::lock_guard<std::mutex> lock(c.mutex);
  return c.stats;
}

void trim_memory() noexcept {
  Cache& c = cache();
  std::lock_guard<std::mutex> lock(c.mutex);
  c.keep_within(0);
}

void* thread_scratch(std::size_t bytes) {
  static thread_local Scratch scratch;
  if (bytes > scratch.size) {
    const std::size_t size = (bytes + 4095) / 4096 * 4096;
    void* fresh = ask_system(size);
    if (!fresh) throw std::bad_alloc();
    std::free(scratch.data);
    scratch.data = fresh;
    scratch.size = size;
  }
  return scratch.data;
}

}  // namespace salon
