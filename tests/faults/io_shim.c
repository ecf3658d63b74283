/* A disk, a clock and a name service that misbehave when told to: preloaded (LD_PRELOAD) into the programs under test.
 *
 * Below the directories in FAULT_SHIM_ROOTS (colon-separated) it can fail any call that writes, write half of what it
 * is given, and freeze all of them at once, which is how a power cut begins. With FAULT_SHIM_LOG it notes what a power
 * cut needs to know: which names were made, moved and removed, and which files and directories were synced, how far.
 * It never changes what the product would see of a healthy disk. Names that end in FAULT_NAMES are those of 127.0.0.1
 * until they are not known any more.
 *
 * All processes share one page, the file FAULT_SHIM_CONTROL, which the campaign writes (io_shim.py knows its layout).
 * Nothing here calls a function that it also replaces.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, RENAME = 4, OPEN = 8, TRUNCATE = 16, MKDIR = 32, UNLINK = 64 };

struct control {
    int32_t calls;     /* which of the above are to fail; 0 for none */
    int32_t error;     /* with what errno */
    int32_t skip;      /* so many go through first */
    int32_t remaining; /* so many fail, then all is well again; below 0: for ever */
    int32_t shorten;   /* so many writes are cut short before the first one fails */
    int32_t frozen;    /* the power is off: who calls never comes back */
    int32_t failed;    /* how many calls were made to fail or cut short */
    int32_t names;     /* numbers what is stashed */
    int64_t clock_offset_ns;
    int32_t name_error; /* what looking a name of ours up ends with; 0: it is found */
    int32_t lookups;    /* how often one was looked up */
};

static const char FAULT_NAMES[] = ".faults.test";

static struct control *control;
static char roots[8][PATH_MAX];
static int root_count;
static int log_fd = -1;
static char stash[PATH_MAX];

__attribute__((constructor)) static void begin(void) {
    const char *page = getenv("FAULT_SHIM_CONTROL"), *list = getenv("FAULT_SHIM_ROOTS");
    const char *log = getenv("FAULT_SHIM_LOG"), *kept = getenv("FAULT_SHIM_STASH");
    if (page == NULL || list == NULL) return;
    int fd = syscall(SYS_openat, AT_FDCWD, page, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped == MAP_FAILED) return;
    char copy[4 * PATH_MAX];
    snprintf(copy, sizeof copy, "%s", list);
    for (char *one = strtok(copy, ":"); one != NULL && root_count < 8; one = strtok(NULL, ":"))
        snprintf(roots[root_count++], PATH_MAX, "%s", one);
    if (kept != NULL) snprintf(stash, sizeof stash, "%s", kept);
    if (log != NULL) {
        int low = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        log_fd = fcntl(low, F_DUPFD_CLOEXEC, 900);
        if (log_fd < 0) log_fd = low; else syscall(SYS_close, low);
    }
    control = mapped;
}

static int below(const char *path) {
    for (int i = 0; i < root_count; i++) {
        size_t length = strlen(roots[i]);
        if (strncmp(path, roots[i], length) == 0 && (path[length] == '/' || path[length] == 0)) return 1;
    }
    return 0;
}

static void whole(int dir, const char *path, char *out) {
    char base[PATH_MAX], link[64];
    if (path[0] == '/') { snprintf(out, PATH_MAX, "%s", path); return; }
    snprintf(link, sizeof link, dir == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", dir);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1);
    base[length < 0 ? 0 : length] = 0;
    size_t room = (size_t)snprintf(out, PATH_MAX, "%.2000s/", base);
    snprintf(out + room, PATH_MAX - room, "%.2000s", path);
}

static int named(int fd, char *path) {
    char link[64];
    if (fd <= 2) return 0; /* what is said, and messages between processes, is no matter of the disk */
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return length > 0;
}

static int ours(int fd) {
    char path[PATH_MAX];
    return named(fd, path) && below(path);
}

/* Whether it is a directory that holds one of the roots: its sync makes their names safe. */
static int holds_root(int fd) {
    char path[PATH_MAX];
    if (!named(fd, path)) return 0;
    size_t length = strlen(path);
    for (int i = 0; i < root_count; i++)
        if (strncmp(path, roots[i], length) == 0 && strchr(roots[i] + length, '/') == roots[i] + length
            && strchr(roots[i] + length + 1, '/') == NULL) return 1;
    return 0;
}

static void freeze(void) {
    while (control->frozen) { struct timespec nap = {3600, 0}; syscall(SYS_nanosleep, &nap, NULL); }
}

/* Whether this call is to fail; then errno says how. */
static int fails(int call) {
    freeze();
    if (!(control->calls & call)) return 0;
    if (__atomic_sub_fetch(&control->skip, 1, __ATOMIC_SEQ_CST) >= 0) return 0;
    if (control->remaining >= 0 && __atomic_sub_fetch(&control->remaining, 1, __ATOMIC_SEQ_CST) < 0) {
        control->remaining = 0;
        return 0;
    }
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    errno = control->error;
    return 1;
}

/* Returns how much of a write goes through, below 0 if it fails. */
static ssize_t share(int fd, size_t count) {
    if (control == NULL || !ours(fd)) return (ssize_t)count;
    freeze();
    if ((control->calls & WRITE) && count > 1 && control->shorten > 0
        && __atomic_sub_fetch(&control->shorten, 1, __ATOMIC_SEQ_CST) >= 0) {
        __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
        return (ssize_t)(count / 2);
    }
    return fails(WRITE) ? -1 : (ssize_t)count;
}

static uint64_t inode(const char *path) {
    struct stat found;
    return syscall(SYS_newfstatat, AT_FDCWD, path, &found, 0) == 0 ? found.st_ino : 0;
}

static uint64_t parent_inode(const char *path) {
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash == NULL) return 0;
    *(slash == parent ? slash + 1 : slash) = 0;
    return inode(parent);
}

static void note(const char *what, uint64_t a, uint64_t b, const char *path, const char *other, int number) {
    char line[3 * PATH_MAX];
    if (log_fd < 0) return;
    int kept = errno, length = snprintf(line, sizeof line, "%s\t%llu\t%llu\t%s\t%s\t%d\n", what,
                                        (unsigned long long)a, (unsigned long long)b, path, other, number);
    syscall(SYS_write, log_fd, line, (size_t)length);
    errno = kept;
}

/* Keep what a name stands for, under a number of its own; 0 if there is nothing. */
static int keep(const char *path) {
    char kept[PATH_MAX + 32];
    if (log_fd < 0 || stash[0] == 0) return 0;
    int number = __atomic_add_fetch(&control->names, 1, __ATOMIC_SEQ_CST), before = errno;
    snprintf(kept, sizeof kept, "%s/%d", stash, number);
    int failed = syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, kept, 0);
    errno = before;
    return failed ? 0 : number;
}

static int next(void) { return __atomic_add_fetch(&control->names, 1, __ATOMIC_SEQ_CST); }

ssize_t write(int fd, const void *data, size_t count) {
    ssize_t some = share(fd, count);
    return some < 0 ? -1 : syscall(SYS_write, fd, data, (size_t)some);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t offset) {
    ssize_t some = share(fd, count);
    return some < 0 ? -1 : syscall(SYS_pwrite64, fd, data, (size_t)some, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t offset) { return pwrite(fd, data, count, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (control != NULL && ours(fd) && fails(WRITE)) return -1;
    return syscall(SYS_writev, fd, parts, count);
}

static int synced(int fd, long call) {
    if (control == NULL || !(ours(fd) || holds_root(fd))) return (int)syscall(call, fd);
    if (fails(SYNC)) return -1;
    struct stat found;
    syscall(SYS_newfstatat, fd, "", &found, AT_EMPTY_PATH);
    int number = log_fd < 0 ? 0 : next();
    note("syncing", found.st_ino, (uint64_t)found.st_size, "", "", number);
    int result = (int)syscall(call, fd);
    freeze();
    if (result == 0) note("synced", found.st_ino, 0, "", "", number);
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static int opened(int dir, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    if (control == NULL || !(flags & (O_WRONLY | O_RDWR | O_CREAT))) return (int)syscall(SYS_openat, dir, path, flags, mode);
    whole(dir, path, full);
    if (!below(full)) return (int)syscall(SYS_openat, dir, path, flags, mode);
    if (fails(OPEN)) return -1;
    int there = inode(full) != 0, fd = (int)syscall(SYS_openat, dir, path, flags, mode);
    if (fd >= 0 && (flags & O_TMPFILE) != O_TMPFILE && log_fd >= 0) {
        if (!there) note("create", inode(full), parent_inode(full), full, "", 0);
        else if (flags & O_TRUNC) note("emptied", inode(full), 0, full, "", 0);
    }
    return fd;
}

#define OPENING(...)                                         \
    mode_t mode = 0;                                         \
    if (flags & (O_CREAT | O_TMPFILE)) {                     \
        va_list rest; va_start(rest, flags);                 \
        mode = (mode_t)va_arg(rest, int); va_end(rest);      \
    }                                                        \
    return opened(__VA_ARGS__, flags, mode)

int open(const char *path, int flags, ...) { OPENING(AT_FDCWD, path); }
int open64(const char *path, int flags, ...) { OPENING(AT_FDCWD, path); }
int openat(int dir, const char *path, int flags, ...) { OPENING(dir, path); }
int openat64(int dir, const char *path, int flags, ...) { OPENING(dir, path); }

static int renamed(int from_dir, const char *from, int to_dir, const char *to) {
    char source[PATH_MAX], target[PATH_MAX];
    if (control == NULL) return (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
    whole(from_dir, from, source);
    whole(to_dir, to, target);
    if (!below(target)) return (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
    if (fails(RENAME)) return -1;
    int kept = keep(target), result = (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
    if (result == 0) note("rename", parent_inode(target), inode(target), source, target, kept);
    return result;
}

int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int a, const char *from, int b, const char *to) { return renamed(a, from, b, to); }

static int removed(int dir, const char *path, int flags) {
    char full[PATH_MAX];
    if (control == NULL) return (int)syscall(SYS_unlinkat, dir, path, flags);
    whole(dir, path, full);
    if (!below(full) || (flags & AT_REMOVEDIR)) return (int)syscall(SYS_unlinkat, dir, path, flags);
    if (fails(UNLINK)) return -1;
    int kept = keep(full), result = (int)syscall(SYS_unlinkat, dir, path, flags);
    if (result == 0) note("unlink", parent_inode(full), 0, full, "", kept);
    return result;
}

int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int dir, const char *path, int flags) { return removed(dir, path, flags); }

static int made(int dir, const char *path, mode_t mode) {
    char full[PATH_MAX];
    if (control == NULL) return (int)syscall(SYS_mkdirat, dir, path, mode);
    whole(dir, path, full);
    if (!below(full)) return (int)syscall(SYS_mkdirat, dir, path, mode);
    if (fails(MKDIR)) return -1;
    int result = (int)syscall(SYS_mkdirat, dir, path, mode);
    if (result == 0) note("mkdir", inode(full), parent_inode(full), full, "", 0);
    return result;
}

int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int dir, const char *path, mode_t mode) { return made(dir, path, mode); }

int ftruncate(int fd, off_t length) {
    if (control != NULL && ours(fd) && fails(TRUNCATE)) return -1;
    return (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && control != NULL && control->clock_offset_ns != 0) {
        int64_t all = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + control->clock_offset_ns;
        now->tv_sec = all / 1000000000;
        now->tv_nsec = all % 1000000000;
    }
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec fine;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &fine);
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec fine;
    clock_gettime(CLOCK_REALTIME, &fine);
    if (out != NULL) *out = fine.tv_sec;
    return fine.tv_sec;
}

/* The one function that is asked for what it replaces: nothing above is called by a lookup of an address. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    static int (*next_in_line)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (next_in_line == NULL) *(void **)&next_in_line = dlsym(RTLD_NEXT, "getaddrinfo");
    size_t length = name == NULL ? 0 : strlen(name), tail = sizeof FAULT_NAMES - 1;
    if (control == NULL || length < tail || strcmp(name + length - tail, FAULT_NAMES) != 0)
        return next_in_line(name, service, hints, found);
    __atomic_add_fetch(&control->lookups, 1, __ATOMIC_SEQ_CST);
    if (control->name_error != 0) return control->name_error;
    return next_in_line("127.0.0.1", service, hints, found);
}
