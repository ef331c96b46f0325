/* Records what a process does to its disk, in order: preloaded (LD_PRELOAD) before the C library.
 *
 * Every write, truncation, synchronisation and unlink of a file below $RECORD_FOLDER is appended to
 * $RECORD_LOG as a header of five 64-bit numbers (operation, length of the path, offset, length of the
 * data, 0), the path, and the data. powercut.py replays the log up to a moment, as a disk might have it
 * after the power went.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, TRUNCATE = 2, SYNC = 3, UNLINK = 4 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void record(int op, const char *path, int64_t offset, const void *data, int64_t length) {
    static int log = -1;
    static ssize_t (*real_writev)(int, const struct iovec *, int);
    const char *folder = getenv("RECORD_FOLDER"), *name = getenv("RECORD_LOG");
    if (!folder || !name || strncmp(path, folder, strlen(folder)) != 0) return;
    pthread_mutex_lock(&lock);
    if (log < 0) {
        log = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        real_writev = dlsym(RTLD_NEXT, "writev");
    }
    int64_t head[5] = {op, (int64_t)strlen(path), offset, length, 0};
    struct iovec parts[3] = {{head, sizeof head}, {(void *)path, strlen(path)}, {(void *)data, (size_t)length}};
    if (real_writev(log, parts, 3) < 0) abort();
    pthread_mutex_unlock(&lock);
}

static void record_fd(int op, int fd, int64_t offset, const void *data, int64_t length) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return;
    path[n] = 0;
    record(op, path, offset, data, length);
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

static ssize_t do_pwrite(const char *name, int fd, const void *data, size_t n, off_t at) {
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, name);
    ssize_t done = real(fd, data, n, at);
    if (done > 0) record_fd(WRITE, fd, at, data, done);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return do_pwrite("pwrite", fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at) { return do_pwrite("pwrite64", fd, data, n, at); }
ssize_t write(int fd, const void *data, size_t n) {
    REAL(ssize_t, "write", int, const void *, size_t);
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = real(fd, data, n);
    if (done > 0 && at >= 0) record_fd(WRITE, fd, at, data, done);
    return done;
}
int ftruncate(int fd, off_t size) {
    REAL(int, "ftruncate", int, off_t);
    int done = real(fd, size);
    if (!done) record_fd(TRUNCATE, fd, size, "", 0);
    return done;
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }
int fsync(int fd) {
    REAL(int, "fsync", int);
    int done = real(fd);
    if (!done) record_fd(SYNC, fd, 0, "", 0);
    return done;
}
int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    int done = real(fd);
    if (!done) record_fd(SYNC, fd, 0, "", 0);
    return done;
}
int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    int done = real(path);
    if (!done) record(UNLINK, path, 0, "", 0);
    return done;
}
