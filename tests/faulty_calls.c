// Preloaded into a process (LD_PRELOAD): calls that SALON_FAULTS names fail with a number, as file systems make them fail.
// SALON_FAULTS is a list with blanks between: CALL:WHAT:NUMBER. WHAT is "folder" or "file" for fsync, the end of a path
// for open, and "*" elsewhere; getuid "fails" with a user that the system does not know. For example "fsync:folder:22 flock:*:37 open:config.json:12".
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fault(const char* call, const char* what, int is_end) {
  const char* list = getenv("SALON_FAULTS");
  char copy[1024], *rest = copy, *item;
  if (!list || strlen(list) >= sizeof copy) return 0;
  strcpy(copy, list);
  while ((item = strsep(&rest, " "))) {
    char* name = strsep(&item, ":");
    char* wanted = item ? strsep(&item, ":") : NULL;
    if (!item || strcmp(name, call)) continue;
    size_t all = strlen(what), end = strlen(wanted);
    if (!strcmp(wanted, "*") || !strcmp(wanted, what) || (is_end && all >= end && !strcmp(what + all - end, wanted)))
      return atoi(item);
  }
  return 0;
}

int fsync(int file) {
  struct stat state;
  int number = fstat(file, &state) ? 0 : fault("fsync", S_ISDIR(state.st_mode) ? "folder" : "file", 0);
  if (number) return errno = number, -1;
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int flock(int file, int how) {
  int number = fault("flock", "*", 0);
  if (number) return errno = number, -1;
  return ((int (*)(int, int))dlsym(RTLD_NEXT, "flock"))(file, how);
}

static int reserve(const char* name, int file, long long start, long long size) {
  int number = fault("posix_fallocate", "*", 0);
  return number ? number : ((int (*)(int, long long, long long))dlsym(RTLD_NEXT, name))(file, start, size);
}
int posix_fallocate(int file, off_t start, off_t size) { return reserve("posix_fallocate", file, start, size); }
int posix_fallocate64(int file, long start, long size) { return reserve("posix_fallocate64", file, start, size); }

static int opened(const char* name, const char* path, int flags, mode_t mode) {
  int number = fault("open", path, 1);
  if (number) return errno = number, -1;
  return ((int (*)(const char*, int, ...))dlsym(RTLD_NEXT, name))(path, flags, mode);
}
#define OPEN(NAME)                                                                   \
  int NAME(const char* path, int flags, ...) {                                       \
    va_list more;                                                                    \
    va_start(more, flags);                                                           \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;          \
    va_end(more);                                                                    \
    return opened(#NAME, path, flags, mode);                                         \
  }
OPEN(open)
OPEN(open64)

int link(const char* from, const char* to) {
  int number = fault("link", "*", 0);
  if (number) return errno = number, -1;
  return ((int (*)(const char*, const char*))dlsym(RTLD_NEXT, "link"))(from, to);
}

uid_t getuid(void) {
  int number = fault("getuid", "*", 0);
  return number ? (uid_t)number : ((uid_t(*)(void))dlsym(RTLD_NEXT, "getuid"))();
}
