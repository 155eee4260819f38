#include "machine.h"

#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

#include <sched.h>

namespace salon {
namespace {

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

bool lists(const std::string& names, const std::string& name) {
  for (const std::string& one : split(names, ','))
    if (one == name) return true;
  return false;
}

// mountinfo writes space, tab, newline and backslash of a path as \040 and so on.
std::string unescaped(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool code = text[i] == '\\' && i + 3 < text.size();
    plain += code ? char((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')) : text[i];
    if (code) i += 3;
  }
  return plain;
}

// The control group hierarchy that has `controller`: where it is mounted, and the part of it that is mounted there.
struct Mount {
  std::string point, top;
};

std::optional<Mount> mount_of(const std::string& root, const std::string& controller, bool second_version) {
  for (const std::string& line : split(contents(root + "/proc/self/mountinfo"), '\n')) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> here = split(line.substr(0, dash), ' '), there = split(line.substr(dash + 3), ' ');
    if (here.size() < 5 || there.size() < 3) continue;
    const bool fits = second_version ? there[0] == "cgroup2" : there[0] == "cgroup" && lists(there[2], controller);
    if (fits) return Mount{unescaped(here[4]), unescaped(here[3])};
  }
  return std::nullopt;
}

// Folders of this process's own control group and of all groups above it that can be seen from here.
std::vector<std::string> groups(const std::string& root, const std::string& controller, bool second_version) {
  std::vector<std::string> folders;
  for (const std::string& line : split(contents(root + "/proc/self/cgroup"), '\n')) {
    const std::size_t first = line.find(':'), second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (second_version ? !controllers.empty() : !lists(controllers, controller)) continue;
    const std::optional<Mount> mount = mount_of(root, controller, second_version);
    if (!mount) continue;
    std::string path = line.substr(second + 1);
    // A container sees its own group as the top of the mount, under a name that is the host's or its own.
    if (mount->top != "/" && path.compare(0, mount->top.size(), mount->top) == 0) path.erase(0, mount->top.size());
    else if (mount->top != "/" || path.find("/..") != std::string::npos) path.clear();
    while (path.size() > 1) {
      folders.push_back(root + mount->point + path);
      path.erase(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
    folders.push_back(root + mount->point);
  }
  return folders;
}

// The number that a file begins with; none for "max", for -1 (which means the same in version 1) and for missing files.
std::optional<std::uint64_t> number(const std::string& text) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  std::uint64_t value = 0;
  std::istringstream(text) >> value;
  return value;
}

// Number of cores for which a quota of so many microseconds in each period is enough; `most` without a quota.
int cores_of(const std::string& quota, const std::string& period, int most) {
  const auto q = number(quota), p = number(period);
  if (!q || !p || !*p) return most;
  const std::uint64_t cores = (*q + *p - 1) / *p;
  return cores < 1 ? 1 : cores < std::uint64_t(most) ? int(cores) : most;
}

int own_affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
  const unsigned cores = std::thread::hardware_concurrency();  // more CPUs than a cpu_set_t holds
  return cores ? int(cores) : 1;
}

}  // namespace

int usable_cores(const std::string& root, int affinity) {
  int cores = affinity > 0 ? affinity : own_affinity();
  for (const std::string& group : groups(root, "cpu", true)) {
    const std::vector<std::string> words = split(contents(group + "/cpu.max"), ' ');
    if (words.size() == 2) cores = cores_of(words[0], words[1], cores);
  }
  for (const std::string& group : groups(root, "cpu", false))
    cores = cores_of(contents(group + "/cpu.cfs_quota_us"), contents(group + "/cpu.cfs_period_us"), cores);
  return cores;
}

std::uint64_t memory_limit(const std::string& root) {
  constexpr std::uint64_t kNone = std::uint64_t(1) << 60;  // version 1 says "no limit" with the largest page-aligned number
  std::uint64_t least = kNone;
  const auto take = [&](const std::string& file) {
    if (const auto bytes = number(contents(file)); bytes && *bytes < least) least = *bytes;
  };
  for (const std::string& group : groups(root, "memory", true)) take(group + "/memory.max");
  for (const std::string& group : groups(root, "memory", false)) take(group + "/memory.limit_in_bytes");
  return least == kNone ? 0 : least;
}

}  // namespace salon
