/* Records what a process changes below one folder, and ends it without warning before its N-th change.

   Loaded with LD_PRELOAD, so that it sees what every library does through the C library: Python's files, SQLite's
   journal, FFmpeg's and safetensors' writes. `recorder_arm` begins it; before, and in other folders, nothing is changed.
   A record of the log: kind, two paths, offset, size of the data, data. `recorder_note` adds what was reported. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[PATH_MAX];
static size_t root_length;
static int log_file = -1;
static long kill_at, count;
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void put(const void *data, size_t size) {
    while (size) {
        ssize_t done = syscall(SYS_write, log_file, data, size);
        if (done <= 0) _exit(99);
        data = (const char *)data + done;
        size -= (size_t)done;
    }
}

static void record(char kind, const char *a, const char *b, int64_t offset, const void *data, int64_t size) {
    uint32_t length_a = (uint32_t)strlen(a), length_b = (uint32_t)strlen(b);
    put(&kind, 1);
    put(&length_a, 4);
    put(a, length_a);
    put(&length_b, 4);
    put(b, length_b);
    put(&offset, 8);
    put(&size, 8);
    if (data && size > 0) put(data, (size_t)size);
}

/* The lock is held from the record to the end of the call: the log has the order of the changes. */
static void begin(char kind, const char *a, const char *b, int64_t offset, const void *data, int64_t size) {
    pthread_mutex_lock(&one);
    if (++count == kill_at) kill(getpid(), SIGKILL);
    record(kind, a, b, offset, data, size);
}

static void end(void) {
    int kept = errno;
    pthread_mutex_unlock(&one);
    errno = kept;
}

void recorder_arm(const char *folder, const char *log_path, long at) {
    log_file = (int)syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    snprintf(root, sizeof root, "%s", folder);
    count = 0;
    kill_at = at;
    root_length = strlen(root);
}

void recorder_note(const char *text) {
    if (log_file < 0) return;
    pthread_mutex_lock(&one);
    record('n', text, "", 0, 0, 0);
    end();
}

static int inside(const char *path) {
    if (log_file < 0 || strncmp(path, root, root_length)) return 0;
    return path[root_length] == '/' || !path[root_length];
}

static int of_handle(int handle, char *path) {
    if (log_file < 0) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return inside(path);
}

/* The absolute path of a name in the folder of a handle. */
static int of_name(int folder, const char *name, char *path) {
    if (log_file < 0 || !name) return 0;
    char base[PATH_MAX];
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return inside(path);
    }
    if (folder == AT_FDCWD) {
        if (syscall(SYS_getcwd, base, sizeof base) <= 0) return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1);
        if (length <= 0) return 0;
        base[length] = 0;
    }
    if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) return 0;
    return inside(path);
}

static int opened(int folder, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    int changes = 0;
    if ((flags & (O_CREAT | O_TRUNC)) && of_name(folder, name, path)) {
        int is_there = !syscall(SYS_faccessat, AT_FDCWD, path, F_OK);
        if (is_there && (flags & O_TRUNC)) {
            begin('t', path, "", 0, 0, 0);
            changes = 1;
        } else if (!is_there && (flags & O_CREAT)) {
            begin('c', path, "", 0, 0, 0);
            changes = 1;
        }
    }
    int handle = (int)syscall(SYS_openat, folder, name, flags, mode);
    if (changes) end();
    return handle;
}

#define MODE                                      \
    mode_t mode = 0;                              \
    if (flags & (O_CREAT | O_TMPFILE)) {          \
        va_list rest;                             \
        va_start(rest, flags);                    \
        mode = (mode_t)va_arg(rest, int);         \
        va_end(rest);                             \
    }
int open(const char *name, int flags, ...) { MODE return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE return opened(AT_FDCWD, name, flags | O_LARGEFILE, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE return opened(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE return opened(folder, name, flags | O_LARGEFILE, mode); }

/* A stream's opening is seen here. C++ writes through `write`; what C's own streams write inside the C library is not seen. */
static FILE *stream(const char *name, const char *mode, FILE *(*real)(const char *, const char *)) {
    char path[PATH_MAX];
    if (!strpbrk(mode, "wa") || !of_name(AT_FDCWD, name, path)) return real(name, mode);
    int is_there = !syscall(SYS_faccessat, AT_FDCWD, path, F_OK);
    int changes = !is_there || mode[0] == 'w';
    if (changes) begin(is_there ? 't' : 'c', path, "", 0, 0, 0);
    FILE *result = real(name, mode);
    if (changes) end();
    return result;
}
FILE *fopen(const char *name, const char *mode) { return stream(name, mode, REAL(fopen)); }
FILE *fopen64(const char *name, const char *mode) { return stream(name, mode, REAL(fopen64)); }

static int64_t place(int handle) {
    int flags = fcntl(handle, F_GETFL);
    struct stat about;
    if (flags >= 0 && (flags & O_APPEND) && !fstat(handle, &about)) return about.st_size;
    return lseek(handle, 0, SEEK_CUR);
}

ssize_t write(int handle, const void *data, size_t size) {
    char path[PATH_MAX];
    if (!of_handle(handle, path)) return syscall(SYS_write, handle, data, size);
    begin('w', path, "", place(handle), data, (int64_t)size);
    ssize_t done = syscall(SYS_write, handle, data, size);
    end();
    return done;
}
static ssize_t write_at(int handle, const void *data, size_t size, off_t offset) {
    char path[PATH_MAX];
    if (!of_handle(handle, path)) return syscall(SYS_pwrite64, handle, data, size, offset);
    begin('w', path, "", offset, data, (int64_t)size);
    ssize_t done = syscall(SYS_pwrite64, handle, data, size, offset);
    end();
    return done;
}
ssize_t pwrite(int handle, const void *data, size_t size, off_t offset) { return write_at(handle, data, size, offset); }
ssize_t pwrite64(int handle, const void *data, size_t size, off64_t offset) { return write_at(handle, data, size, offset); }
ssize_t writev(int handle, const struct iovec *parts, int many) {
    char path[PATH_MAX];
    if (!of_handle(handle, path)) return syscall(SYS_writev, handle, parts, many);
    ssize_t total = 0;
    for (int i = 0; i < many; i++) {
        ssize_t done = write(handle, parts[i].iov_base, parts[i].iov_len);
        if (done < 0) return total ? total : done;
        total += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return total;
}
/* Calls that would copy inside the kernel are refused; programs then read and write. */
ssize_t sendfile(int out, int in, off_t *offset, size_t size) {
    char path[PATH_MAX];
    if (!of_handle(out, path)) return syscall(SYS_sendfile, out, in, offset, size);
    errno = ENOSYS;
    return -1;
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) { return sendfile(out, in, offset, size); }
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    char path[PATH_MAX];
    if (!of_handle(out, path)) return syscall(SYS_copy_file_range, in, from, out, to, size, flags);
    errno = ENOSYS;
    return -1;
}

#define ON_HANDLE(kind, offset, call)          \
    char path[PATH_MAX];                       \
    if (!of_handle(handle, path)) return call; \
    begin(kind, path, "", offset, 0, 0);       \
    int result = call;                         \
    end();                                     \
    return result;
int fsync(int handle) { ON_HANDLE('s', 0, (int)syscall(SYS_fsync, handle)) }
int fdatasync(int handle) { ON_HANDLE('s', 0, (int)syscall(SYS_fdatasync, handle)) }
int ftruncate(int handle, off_t size) { ON_HANDLE('t', size, (int)syscall(SYS_ftruncate, handle, size)) }
int ftruncate64(int handle, off64_t size) { ON_HANDLE('t', size, (int)syscall(SYS_ftruncate, handle, size)) }

#define ON_NAME(kind, folder, call)                   \
    char path[PATH_MAX];                              \
    if (!of_name(folder, name, path)) return call;    \
    begin(kind, path, "", 0, 0, 0);                   \
    int result = call;                                \
    end();                                            \
    return result;
int mkdir(const char *name, mode_t mode) { ON_NAME('m', AT_FDCWD, (int)syscall(SYS_mkdirat, AT_FDCWD, name, mode)) }
int unlink(const char *name) { ON_NAME('u', AT_FDCWD, (int)syscall(SYS_unlinkat, AT_FDCWD, name, 0)) }
int rmdir(const char *name) { ON_NAME('u', AT_FDCWD, (int)syscall(SYS_unlinkat, AT_FDCWD, name, AT_REMOVEDIR)) }
int unlinkat(int folder, const char *name, int flags) { ON_NAME('u', folder, (int)syscall(SYS_unlinkat, folder, name, flags)) }

static int renamed(int folder, const char *old, int other, const char *new) {
    char from[PATH_MAX], to[PATH_MAX];
    int is_ours = of_name(folder, old, from) & of_name(other, new, to);
    if (is_ours) begin('r', from, to, 0, 0, 0);
    int result = (int)syscall(SYS_renameat2, folder, old, other, new, 0);
    if (is_ours) end();
    return result;
}
int rename(const char *old, const char *new) { return renamed(AT_FDCWD, old, AT_FDCWD, new); }
int renameat(int folder, const char *old, int other, const char *new) { return renamed(folder, old, other, new); }
