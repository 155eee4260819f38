#include "memory.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <vector>

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

struct Cache {
  std::mutex mutex;
  std::map<std::size_t, std::vector<void*>> blocks;
  MemoryStats stats{};
};
Cache& cache() {
  static Cache* c = new Cache();  // leaked on purpose: tensors may outlive static destruction
  return *c;
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
    auto found = c.blocks.find(size);
    c.stats.in_use += size;
    if (found != c.blocks.end() && !found->second.empty()) {
      void* block = found->second.back();
      found->second.pop_back();
      c.stats.cached -= size;
      return block;
    }
    ++c.stats.system_calls;
    if (c.stats.in_use + c.stats.cached > c.stats.peak) c.stats.peak = c.stats.in_use + c.stats.cached;
  }
  char* base = static_cast<char*>(std::aligned_alloc(64, size + kHeader));
  if (!base) {
    std::lock_guard<std::mutex> lock(c.mutex);
    c.stats.in_use -= size;
    throw std::bad_alloc();
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
    c.blocks[size].push_back(block);
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
  for (auto& entry : c.blocks) {
    for (void* block : entry.second) {
      c.stats.cached -= entry.first;
      std::free(static_cast<char*>(block) - kHeader);
    }
    entry.second.clear();
  }
}

void* thread_scratch(std::size_t bytes) {
  static thread_local Scratch scratch;
  if (bytes > scratch.size) {
    const std::size_t size = (bytes + 4095) / 4096 * 4096;
    void* fresh = std::aligned_alloc(64, size);
    if (!fresh) throw std::bad_alloc();
    std::free(scratch.data);
    scratch.data = fresh;
    scratch.size = size;
  }
  return scratch.data;
}

}  // namespace salon
