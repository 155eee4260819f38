// Finds out what this process may use of the machine: a container's share, not the whole.
#pragma once
#include <cstdint>
#include <string>

namespace salon {

// Cores that this process can keep busy: the least of `affinity` (0: the process's own) and, rounded up, the CPU quotas of
// its control group and of all groups above it (cpu.max, or version 1's cpu.cfs_quota_us). At least 1.
// `root` is put before the paths of /proc and of the mounts, so that a folder can stand for another machine.
int usable_cores(const std::string& root = "", int affinity = 0);

// Bytes that this process may use: the least limit of its control group and of all groups above it (memory.max, or
// version 1's memory.limit_in_bytes). 0: nothing limits them.
std::uint64_t memory_limit(const std::string& root = "");

}  // namespace salon
