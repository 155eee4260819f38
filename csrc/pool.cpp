#include "pool.h"

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#include <sched.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace salon {
namespace {

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Ops of a step follow each other within microseconds: a helper spins that long before it sleeps.
constexpr int kSpins = 4000;

class Pool {
 public:
  void run(std::int64_t count, Task task, void* context, int threads) {
    std::lock_guard<std::mutex> one_job(job_);
    grow(threads - 1);
    const int helpers = threads - 1;
    task_ = task;
    context_ = context;
    threads_ = threads;
    for (int t = 0; t < threads; ++t) {
      shares_[t].end = count * (t + 1) / threads;
      shares_[t].next.store(count * t / threads, std::memory_order_relaxed);
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      wanted_ = helpers;
      open_ = true;
      generation_.fetch_add(1, std::memory_order_release);
    }
    if (sleeping_.load(std::memory_order_seq_cst) > 0) wake_.notify_all();
    work(0);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      open_ = false;  // a helper that has not come by now (it may not have a core) is not waited for
    }
    for (int spin = 0; active_.load(std::memory_order_acquire) != 0; ++spin) {
      if (spin < kSpins) {
        relax();
      } else {
        sched_yield();  // a helper holds a task but lost its core
      }
    }
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  void grow(int helpers) {
    while (static_cast<int>(workers_.size()) < helpers) {
      const int index = static_cast<int>(workers_.size());
      const unsigned seen = generation_.load(std::memory_order_relaxed);
      workers_.emplace_back([this, index, seen] { loop(index, seen); });
    }
  }

  // The tasks of one thread; on a cache line of its own.
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };

  void work(int thread) {
    for (int i = 0; i < threads_; ++i) {
      Share& share = shares_[(thread + i) % threads_];
      for (;;) {
        if (share.next.load(std::memory_order_relaxed) >= share.end) break;
        const std::int64_t task = share.next.fetch_add(1, std::memory_order_relaxed);
        if (task >= share.end) break;
        try {
          task_(context_, task);
        } catch (...) {  // no memory for scratch: the caller hears of it once all threads are out of the job
          std::lock_guard<std::mutex> lock(mutex_);
          if (!failure_) failure_ = std::current_exception();
        }
      }
    }
  }

  void loop(int index, unsigned seen) {
    for (;;) {
      for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen; ++spin) relax();
      if (generation_.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleeping_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
        sleeping_.fetch_sub(1, std::memory_order_relaxed);
      }
      {
        std::lock_guard<std::mutex> lock(mutex_);
        seen = generation_.load(std::memory_order_relaxed);
        if (!open_ || index >= wanted_) continue;
        active_.fetch_add(1, std::memory_order_relaxed);
      }
      work(index + 1);
      active_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::vector<std::thread> workers_;
  std::mutex job_, mutex_;
  std::condition_variable wake_;
  Task task_ = nullptr;
  void* context_ = nullptr;
  int threads_ = 1;
  Share shares_[kMaxThreads];
  std::atomic<int> active_{0}, sleeping_{0};
  std::atomic<unsigned> generation_{0};
  std::exception_ptr failure_;
  int wanted_ = 0;
  bool open_ = false;
};

Pool*& slot() {
  static Pool* pool = nullptr;
  return pool;
}

Pool& pool() {
  static std::once_flag once;
  std::call_once(once, [] {
    slot() = new Pool();  // leaked on purpose: helpers may still wait at exit
    pthread_atfork(nullptr, nullptr, [] { slot() = new Pool(); });  // a fork's child has no helpers
  });
  return *slot();
}

}  // namespace

void parallel(std::int64_t count, Task run, void* context, int threads) {
  if (count < threads) threads = static_cast<int>(count);
  if (threads > kMaxThreads) threads = kMaxThreads;
  if (threads <= 1) {
    for (std::int64_t task = 0; task < count; ++task) run(context, task);
    return;
  }
  pool().run(count, run, context, threads);
}

int default_threads() {
  if (const char* text = std::getenv("SALON_THREADS"); text && *text) {
    char* end = nullptr;
    errno = 0;
    const long value = std::strtol(text, &end, 10);
    if (*end || errno || value < 1 || value > kMaxThreads)
      throw std::invalid_argument("SALON_THREADS=" + std::string(text) + ": want a whole number from 1 to " +
                                  std::to_string(kMaxThreads));
    return static_cast<int>(value);
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    const int cores = CPU_COUNT(&set);
    if (cores > 0) return cores < kMaxThreads ? cores : kMaxThreads;
  }
  const unsigned cores = std::thread::hardware_concurrency();
  return cores ? static_cast<int>(cores) : 1;
}

}  // namespace salon
