// A persistent pool of threads. Plain function pointers, so that files compiled for one ISA need no templates.
#pragma once
#include <cstdint>
#include <string>

namespace salon {

// Runs task number `task`.
using Task = void (*)(void* context, std::int64_t task);

// Runs tasks 0 .. count-1 on up to `threads` threads (the caller's among them) and returns when all are done. Thread t
// begins with the t-th share of the tasks, so that ops whose tasks go by rows find those rows in their own core's cache;
// a thread that is done early takes tasks from the others. Which thread takes which task is unspecified, and no result
// may depend on it: tasks run in one FloatMode on all threads. Calls from several threads take turns. If a task throws, the
// others still run, and the caller gets the first exception. Throws std::logic_error when a task calls this.
void parallel(std::int64_t count, Task run, void* context, int threads);

// Starts the threads that `parallel` needs for `threads`. Returns how many there are, the caller's among them. There
// are fewer if the system refuses to start more; then `why` is its reason.
int start_threads(int threads, std::string& why);

// SALON_THREADS, else `usable_cores`. Throws std::invalid_argument on a bad value.
int default_threads();
constexpr int kMaxThreads = 256;

}  // namespace salon
