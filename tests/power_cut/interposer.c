/* Records what a process does to the files under POWER_CUT_ROOT, in order, into POWER_CUT_LOG: every write with its
 * data, every sync, every change of a name. Syncs are recorded, not carried out: the test cuts the power itself. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static const char *root;
static size_t root_len;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("POWER_CUT_LOG");
  root = getenv("POWER_CUT_ROOT");
  if (!path || !root) return;
  root_len = strlen(root);
  log_fd = REAL(open64)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int ours(const char *path) { return log_fd >= 0 && path && strncmp(path, root, root_len) == 0; }

static int path_of(int fd, char *out) {
  char link[64];
  if (log_fd < 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, out, PATH_MAX - 1);
  if (n < 0) return 0;
  out[n] = 0;
  return ours(out);
}

static uint64_t inode(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

static void put(const void *bytes, size_t len) {
  const char *at = bytes;
  while (len > 0) {
    ssize_t n = REAL(write)(log_fd, at, len);
    if (n <= 0) abort();
    at += n;
    len -= (size_t)n;
  }
}

static void note(char op, uint64_t ino, uint64_t off, const char *path, const void *data, uint32_t len) {
  uint32_t path_len = (uint32_t)strlen(path);
  put(&op, 1);
  put(&ino, 8);
  put(&off, 8);
  put(&path_len, 4);
  put(&len, 4);
  put(path, path_len);
  put(data, len);
}

static int noted_open(int fd, const char *path, int flags) {
  struct stat st;
  if (fd >= 0 && ours(path) && fstat(fd, &st) == 0)
    note(S_ISDIR(st.st_mode) ? 'd' : 'O', st.st_ino, (flags & O_TRUNC) ? 1 : 0, path, "", 0);
  return fd;
}

#define OPEN(name)                                                     \
  int name(const char *path, int flags, ...) {                         \
    va_list rest;                                                      \
    va_start(rest, flags);                                             \
    mode_t mode = va_arg(rest, mode_t);                                \
    va_end(rest);                                                      \
    pthread_mutex_lock(&lock);                                         \
    int fd = noted_open(REAL(name)(path, flags, mode), path, flags);   \
    pthread_mutex_unlock(&lock);                                       \
    return fd;                                                         \
  }
OPEN(open)
OPEN(open64)

static ssize_t noted_write(int fd, const void *data, ssize_t n, uint64_t off) {
  char path[PATH_MAX];
  if (n > 0 && path_of(fd, path)) {
    size_t len = strlen(path);
    int is_ack = len > 5 && strcmp(path + len - 5, "/acks") == 0;
    note(is_ack ? 'A' : 'W', inode(fd), off, path, data, (uint32_t)n);
  }
  return n;
}

ssize_t write(int fd, const void *data, size_t len) {
  pthread_mutex_lock(&lock);
  off_t at = lseek(fd, 0, SEEK_CUR);
  ssize_t n = noted_write(fd, data, REAL(write)(fd, data, len), at < 0 ? 0 : (uint64_t)at);
  pthread_mutex_unlock(&lock);
  return n;
}

#define PWRITE(name)                                                                       \
  ssize_t name(int fd, const void *data, size_t len, off_t off) {                          \
    pthread_mutex_lock(&lock);                                                             \
    ssize_t n = noted_write(fd, data, REAL(name)(fd, data, len, off), (uint64_t)off);      \
    pthread_mutex_unlock(&lock);                                                           \
    return n;                                                                              \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

#define TRUNCATE(name)                                                     \
  int name(int fd, off_t len) {                                            \
    char path[PATH_MAX];                                                   \
    pthread_mutex_lock(&lock);                                             \
    int done = REAL(name)(fd, len);                                        \
    if (done == 0 && path_of(fd, path)) note('T', inode(fd), (uint64_t)len, path, "", 0); \
    pthread_mutex_unlock(&lock);                                           \
    return done;                                                           \
  }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define SYNC(name)                                                         \
  int name(int fd) {                                                       \
    char path[PATH_MAX];                                                   \
    pthread_mutex_lock(&lock);                                             \
    if (path_of(fd, path)) note('S', inode(fd), 0, path, "", 0);           \
    pthread_mutex_unlock(&lock);                                           \
    return 0;                                                              \
  }
SYNC(fsync)
SYNC(fdatasync)

/* Starts writing out, flushes no disk cache: promises nothing. */
int sync_file_range(int fd, off64_t off, off64_t len, unsigned int flags) {
  (void)fd; (void)off; (void)len; (void)flags;
  return 0;
}

int rename(const char *from, const char *to) {
  pthread_mutex_lock(&lock);
  int done = REAL(rename)(from, to);
  if (done == 0 && ours(from)) note('R', 0, 0, from, to, (uint32_t)strlen(to));
  pthread_mutex_unlock(&lock);
  return done;
}

int unlink(const char *path) {
  pthread_mutex_lock(&lock);
  int done = REAL(unlink)(path);
  if (done == 0 && ours(path)) note('U', 0, 0, path, "", 0);
  pthread_mutex_unlock(&lock);
  return done;
}

int unlinkat(int dir, const char *name, int flags) {
  char path[PATH_MAX];
  pthread_mutex_lock(&lock);
  int known = dir == AT_FDCWD ? (snprintf(path, sizeof path, "%s", name), ours(path)) : path_of(dir, path);
  if (known && dir != AT_FDCWD) {
    size_t len = strlen(path);
    snprintf(path + len, sizeof path - len, "/%s", name);
  }
  int done = REAL(unlinkat)(dir, name, flags);
  if (done == 0 && known) note('U', 0, 0, path, "", 0);
  pthread_mutex_unlock(&lock);
  return done;
}

int mkdir(const char *path, mode_t mode) {
  pthread_mutex_lock(&lock);
  int done = REAL(mkdir)(path, mode);
  if (done == 0 && ours(path)) note('D', 0, 0, path, "", 0);
  pthread_mutex_unlock(&lock);
  return done;
}

int rmdir(const char *path) {
  pthread_mutex_lock(&lock);
  int done = REAL(rmdir)(path);
  if (done == 0 && ours(path)) note('U', 0, 0, path, "", 0);
  pthread_mutex_unlock(&lock);
  return done;
}
