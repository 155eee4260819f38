// Drives csrc/pool.cpp and csrc/memory.cpp as no binding can; test_ground.py compiles and runs it.
#include <atomic>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "pool.h"

namespace {

using salon::parallel;

void add_one(void* context, std::int64_t task) { static_cast<std::atomic<int>*>(context)[task] += 1; }

// Every task is done once, whatever the counts of tasks and threads.
bool sums() {
  for (int threads : {1, 2, 3, 8})
    for (std::int64_t count : {0, 1, 2, 7, 64, 1000}) {
      std::vector<std::atomic<int>> done(1000);
      for (int round = 0; round < 50; ++round) parallel(count, add_one, done.data(), threads);
      for (std::int64_t i = 0; i < 1000; ++i)
        if (done[std::size_t(i)] != (i < count ? 50 : 0)) return false;
    }
  return true;
}

// A task that calls parallel is told so, on one thread and on several, and the pool works on.
bool nested() {
  for (int threads : {1, 2}) {
    bool told = false;
    try {
      parallel(4, [](void* context, std::int64_t) { parallel(1, add_one, context, 1); }, nullptr, threads);
    } catch (const std::logic_error& error) {
      told = std::strstr(error.what(), "called by a task") != nullptr;
    }
    if (!told || !sums()) return false;
  }
  return true;
}

bool throws() {
  std::vector<std::atomic<int>> done(64);
  for (int threads : {1, 2, 4}) {
    try {
      parallel(64, [](void* context, std::int64_t task) {
        add_one(context, task);
        if (task % 7 == 3) throw std::bad_alloc();
      }, done.data(), threads);
      return false;
    } catch (const std::bad_alloc&) {
    }
  }
  return sums();
}

// Children are forked while other threads allocate and compute; each must be able to do both.
bool forks(int count) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int t = 0; t < 3; ++t)
    busy.emplace_back([&stop, t] {
      std::vector<std::atomic<int>> done(64);
      while (!stop)
        if (t) salon::release(salon::acquire(1000));
        else parallel(64, add_one, done.data(), 3);
    });
  bool well = true;
  for (int i = 0; i < count && well; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(50);  // one that waits for ever dies of it
      std::vector<std::atomic<int>> done(64);
      salon::release(salon::acquire(1000));
      parallel(64, add_one, done.data(), 3);
      _exit(done[63] == 1 ? 0 : 1);
    }
    int status = 1;
    well = child > 0 && waitpid(child, &status, 0) == child && status == 0;
  }
  stop = true;
  for (std::thread& thread : busy) thread.join();
  return well;
}

// What the system refuses is not counted, and what was kept is bounded as before.
bool refused() {
  salon::release(salon::acquire(1 << 20));
  const salon::MemoryStats before = salon::memory_stats();
  try {
    salon::acquire(std::size_t(70) << 40);
    return false;
  } catch (const std::bad_alloc&) {
  }
  const salon::MemoryStats after = salon::memory_stats();
  return after.in_use == before.in_use && after.most_in_use == before.most_in_use && after.peak == before.peak;
}

// There is room for the stacks of a few threads only: those compute, and the reason is given.
bool few_threads() {
  std::size_t pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%zu", &pages) != 1) return false;
    std::fclose(file);
  }
  struct rlimit stack, all;
  getrlimit(RLIMIT_AS, &all);
  getrlimit(RLIMIT_STACK, &stack);
  const rlim_t each = stack.rlim_cur == RLIM_INFINITY ? 2 << 20 : stack.rlim_cur;
  const struct rlimit small{pages * 4096 + 4 * each, all.rlim_max};
  setrlimit(RLIMIT_AS, &small);
  std::string why;
  const int threads = salon::start_threads(64, why);
  std::printf("%d threads: %s\n", threads, why.c_str());
  std::vector<std::atomic<int>> done(1000);
  parallel(1000, add_one, done.data(), 64);
  bool well = threads > 1 && threads < 64 && !why.empty() && done[0] == 1 && done[999] == 1;
  setrlimit(RLIMIT_AS, &all);
  why.clear();
  return well && salon::start_threads(64, why) == 64 && why.empty();  // there is room again
}

}  // namespace

int main(int, char** words) {
  const std::string what = words[1];
  const bool well = what == "sums" ? sums() : what == "nested" ? nested() : what == "throws" ? throws() : what == "forks" ? forks(40)
                    : what == "refused" ? refused() : what == "few_threads" && few_threads();
  std::puts(well ? "well" : "not well");
  return well ? 0 : 1;
}
