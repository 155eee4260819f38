#include "pool.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <linux/futex.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "float_mode.h"
#include "machine.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace salon {
namespace {

using Word = std::atomic<std::uint32_t>;

using Clock = std::chrono::steady_clock;

// How long a thread polls for a new job before it sleeps. Ops of a step follow each other within tens of microseconds,
// and to wake a sleeper takes as long. A thread alone on its core can poll for longer, through the pauses between
// steps. Where other threads need the core, polling takes their time, and the thread waits for just those threads.
constexpr std::chrono::microseconds kCrowded{20}, kAlone{1500};
constexpr std::chrono::milliseconds kMemory{20};  // a core is crowded so long after it was taken away from the thread

// Whether this thread lost its core to another one recently. Asks the system, which takes less than a microsecond.
bool is_crowded(Clock::time_point now) {
  static thread_local long seen = 0;
  static thread_local Clock::time_point until{};
  struct rusage usage;
  if (getrusage(RUSAGE_THREAD, &usage) == 0 && usage.ru_nivcsw != seen) {
    seen = usage.ru_nivcsw;
    until = now + kMemory;
  }
  return now < until;
}

// Returns once `done()`, or when it is time to sleep.
template <class Done> void look_out(Done done) {
  const auto start = Clock::now();
  for (auto ask = start + kCrowded;;) {
    for (int i = 0; i < 16; ++i) {
      if (done()) return;
#if defined(__x86_64__)
      _mm_pause();
#endif
    }
    const auto now = Clock::now();
    if (now < ask) continue;
    if (now >= start + kAlone || is_crowded(now)) return;
    ask = now + kCrowded;
  }
}

// Sleeps unless `word` has changed from `seen`; may wake for nothing.
void sleep_on(Word& word, std::uint32_t seen) { syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0); }
void wake(Word& word, int threads) { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0); }

thread_local bool in_task = false;

// The state of a thread while it runs tasks.
class InTask {
 public:
  InTask() { in_task = true; }
  ~InTask() { in_task = false; }

 private:
  FloatMode mode_;
};

class Pool {
 public:
  void run(std::int64_t count, Task task, void* context, int threads) {
    std::lock_guard<std::mutex> one_job(job_);
    threads = 1 + grow(threads - 1);
    task_ = task;
    context_ = context;
    threads_ = threads;
    for (int t = 0; t < threads; ++t) {
      shares_[t].end = count * (t + 1) / threads;
      shares_[t].next.store(count * t / threads, std::memory_order_relaxed);
    }
    helpers_.store(threads - 1, std::memory_order_relaxed);
    const std::uint32_t job = (state_.load(std::memory_order_relaxed) & ~(kOpen | kActive)) + kJob;
    const std::uint32_t ends = done_.load(std::memory_order_relaxed);
    state_.store(job | kOpen, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) > 0) wake(state_, kMaxThreads);
    work(0);
    // The caller does not wait for a helper that has not joined by now: it may not have a core.
    if (state_.fetch_and(~kOpen, std::memory_order_acq_rel) & kActive) await_helpers(ends);
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  int start(int helpers, std::string& why) {
    std::lock_guard<std::mutex> one_job(job_);
    refused_.clear();  // the system may start more threads by now
    const int started = grow(helpers);
    if (started < helpers) why = refused_;
    return started;
  }

 private:
  // State of the pool: the number of the job, whether helpers may still join it, and how many are in it.
  static constexpr std::uint32_t kActive = 0x7fff, kOpen = 0x8000, kJob = 0x10000;

  // Starts threads until there are so many helpers or the system starts no more; returns how many of them to use.
  int grow(int helpers) {
    while (static_cast<int>(workers_.size()) < helpers && refused_.empty()) {
      const int index = static_cast<int>(workers_.size());
      const std::uint32_t seen = state_.load(std::memory_order_relaxed);
      try {
        workers_.reserve(workers_.size() + 1);
        workers_.emplace_back([this, index, seen] { loop(index, seen); });
      } catch (const std::system_error& error) {  // a limit of processes or of memory
        refused_ = error.code().message();
      } catch (const std::bad_alloc&) {
        refused_ = "out of memory";
      }
    }
    return helpers < static_cast<int>(workers_.size()) ? helpers : static_cast<int>(workers_.size());
  }

  // The tasks of one thread; on a cache line of its own.
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };

  void work(int thread) {
    const InTask inside;
    for (int i = 0; i < threads_; ++i) {
      Share& share = shares_[(thread + i) % threads_];
      for (;;) {
        if (share.next.load(std::memory_order_relaxed) >= share.end) break;
        const std::int64_t task = share.next.fetch_add(1, std::memory_order_relaxed);
        if (task >= share.end) break;
        try {
          task_(context_, task);
        } catch (...) {  // the caller hears of it once all threads are out of the job
          std::lock_guard<std::mutex> lock(failing_);
          if (!failure_) failure_ = std::current_exception();
        }
      }
    }
  }

  // The caller sleeps rather than yields: that leaves this core to a helper that lost its own in the middle of a task.
  void await_helpers(std::uint32_t seen) {
    look_out([&] { return done_.load(std::memory_order_acquire) != seen; });
    while (done_.load(std::memory_order_acquire) == seen) {
      awaited_.store(true, std::memory_order_seq_cst);
      if (done_.load(std::memory_order_seq_cst) == seen) sleep_on(done_, seen);
      awaited_.store(false, std::memory_order_relaxed);
    }
  }

  bool is_news(std::uint32_t seen) const { return ((state_.load(std::memory_order_acquire) ^ seen) & ~(kOpen | kActive)) != 0; }

  void await_job(std::uint32_t seen) {
    look_out([&] { return is_news(seen); });
    while (!is_news(seen)) {
      sleeping_.fetch_add(1, std::memory_order_seq_cst);
      const std::uint32_t now = state_.load(std::memory_order_seq_cst);
      if (!((now ^ seen) & ~(kOpen | kActive))) sleep_on(state_, now);
      sleeping_.fetch_sub(1, std::memory_order_relaxed);
    }
  }

  // Joins the present job, if it is open and needs this helper.
  bool join(int index, std::uint32_t& seen) {
    seen = state_.load(std::memory_order_acquire);
    do {
      if (!(seen & kOpen) || index >= helpers_.load(std::memory_order_relaxed)) return false;
    } while (!state_.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel, std::memory_order_acquire));
    return true;
  }

  void leave() {
    const std::uint32_t before = state_.fetch_sub(1, std::memory_order_acq_rel);
    if ((before & kOpen) || (before & kActive) != 1) return;
    done_.fetch_add(1, std::memory_order_seq_cst);  // the last one out of a job that its caller waits for
    if (awaited_.load(std::memory_order_seq_cst)) wake(done_, 1);
  }

  void loop(int index, std::uint32_t seen) {
    for (;;) {
      await_job(seen);
      if (!join(index, seen)) continue;
      if (index < helpers_.load(std::memory_order_relaxed)) work(index + 1);
      leave();
    }
  }

  std::vector<std::thread> workers_;
  std::mutex job_, failing_;
  std::string refused_;  // why the system started no more threads
  Task task_ = nullptr;
  void* context_ = nullptr;
  int threads_ = 1;
  Share shares_[kMaxThreads];
  std::atomic<int> helpers_{0}, sleeping_{0};
  std::atomic<bool> awaited_{false};
  Word state_{0}, done_{0};  // done_: jobs whose caller had to wait for helpers, and need not any more
  std::exception_ptr failure_;
};

Pool*& slot() {
  static Pool* pool = nullptr;
  return pool;
}

Pool& pool() { return *slot(); }

// Made when the library is loaded, not at the first use: a fork amid the first use of another thread would leave its
// child waiting for ever for a beginning that no thread there ends.
[[maybe_unused]] const bool made_at_load = [] {
  slot() = new Pool();  // leaked on purpose: helpers may still wait at exit
  pthread_atfork(nullptr, nullptr, [] { slot() = new Pool(); });  // a fork's child has no helpers
  return true;
}();

}  // namespace

void parallel(std::int64_t count, Task run, void* context, int threads) {
  if (in_task) throw std::logic_error("parallel: called by a task of parallel, which would wait for itself for ever");
  if (count < threads) threads = static_cast<int>(count);
  if (threads > kMaxThreads) threads = kMaxThreads;
  if (threads <= 1) {
    const InTask inside;
    for (std::int64_t task = 0; task < count; ++task) run(context, task);
    return;
  }
  pool().run(count, run, context, threads);
}

int start_threads(int threads, std::string& why) {
  if (threads > kMaxThreads) threads = kMaxThreads;
  return threads <= 1 ? 1 : 1 + pool().start(threads - 1, why);
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
  const int cores = usable_cores();
  return cores < kMaxThreads ? cores : kMaxThreads;
}

}  // namespace salon
