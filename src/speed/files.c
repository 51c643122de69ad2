/*
 * Faults of disks: the calls by which a server writes its files.
 *
 * A rule says which calls on which kinds of files fail, wait or write less than they were asked for. It takes the place of
 * the disk, so a call that waits cannot be interrupted, and one that fails changes nothing. Calls on sockets, and on files
 * elsewhere, are not looked at.
 *
 * Inside libc, `fwrite` does not come here. So a stream that writes a file of the disk is one whose bytes do (`fopencookie`).
 *
 * No locks. No memory of its own, apart from that of a stream. So every function but `fopen` is safe in signal handlers and
 * after fork; a child has the rule and the counters of its parent.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "durable.h"
#include "files.h"
#include "raw.h"

#define MILLION 1000000ULL

/* How long a call waits before it looks again whether the rule that holds it is still in force, in nanoseconds. */
#define LOOK_AGAIN 5000000LL

/* What becomes of a call. The numbers are those of src/speed/disk.rs. */
enum effect { PASSES, FAILS, IS_SLOW, STALLS, IS_SHORT };

struct rule {
    uint64_t effect;
    uint64_t operations; /* one bit each */
    uint64_t files; /* one bit each */
    uint64_t error; /* of FAILS, an errno */
    uint64_t delay; /* of IS_SLOW, in nanoseconds of the time of this process */
    uint64_t share; /* of IS_SHORT, the part of the writes, in millionths */
};

/* The file of a disk (src/speed/disk.rs). The number of changes says which of the two rules is in force. */
struct disk_file {
    uint64_t format;
    uint8_t changes;
    uint8_t unused[7];
    struct rule rules[2];
    /* Written by the library: the last process that has seen the number of changes, as (its id << 8 | that number). */
    uint64_t taken;
    /* Calls so far, and those of them that a rule hit. */
    uint64_t calls[OPERATIONS][FILE_KINDS];
    uint64_t hits[OPERATIONS][FILE_KINDS];
};

/* "slotdsk1" */
#define FORMAT_OF_DISK 0x316b7364746f6c73ULL

static struct disk_file *disk;

/* The process that has mapped it; its children have it from there. */
static uint64_t owner;

/* The directory that is the disk, and the length of its path. */
static char root[PATH_MAX];
static size_t root_length;

/* What the descriptors are of. A descriptor may have become another file's without coming here, so the file is compared. */
static struct {
    int known; /* its kind plus 1; 0 for none */
    uint64_t device, number;
} files[4096];

static FILE *(*real_fopen)(const char *, const char *);

__attribute__((constructor)) static void prepare_files(void)
{
    real_fopen = (__typeof__(real_fopen))dlsym(RTLD_NEXT, "fopen");
    const char *path = getenv(VARIABLE_OF_DISK);
    const char *name = path ? strrchr(path, '/') : NULL;
    if (!name || name == path || (size_t)(name - path) >= sizeof root)
        return;
    long file = raw(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC, 0, 0, 0);
    if (file < 0)
        return;
    long size = sizeof *disk, place = -1;
    if (raw(SYS_lseek, file, 0, SEEK_END, 0, 0, 0) >= size)
        place = raw(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    raw(SYS_close, file, 0, 0, 0, 0, 0);
    if (place < 0 && place > -4096)
        return;
    struct disk_file *mapped = (struct disk_file *)place;
    if (mapped->format != FORMAT_OF_DISK) {
        raw(SYS_munmap, place, size, 0, 0, 0, 0);
        return;
    }
    root_length = name - path;
    memcpy(root, path, root_length);
    owner = (uint64_t)raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
    __atomic_store_n(&disk, mapped, __ATOMIC_RELEASE);
    take_rule();
}

void take_rule(void)
{
    if (!disk)
        return;
    static uint64_t told;
    uint64_t seen = __atomic_load_n(&disk->changes, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&told, __ATOMIC_RELAXED) == (seen | 0x100))
        return;
    __atomic_store_n(&told, seen | 0x100, __ATOMIC_RELAXED);
    if ((uint64_t)raw(SYS_getpid, 0, 0, 0, 0, 0, 0) == owner)
        __atomic_store_n(&disk->taken, owner << 8 | seen, __ATOMIC_RELEASE);
}

/* The rule in force, and the number of changes with which it came. The one in force is written only after the other one has
 * come into force, so one that was in force before and after it was read is whole. */
static struct rule rule(uint8_t *changes)
{
    struct rule now;
    do {
        *changes = __atomic_load_n(&disk->changes, __ATOMIC_ACQUIRE);
        const struct rule *from = &disk->rules[*changes & 1];
        now.effect = __atomic_load_n(&from->effect, __ATOMIC_RELAXED);
        now.operations = __atomic_load_n(&from->operations, __ATOMIC_RELAXED);
        now.files = __atomic_load_n(&from->files, __ATOMIC_RELAXED);
        now.error = __atomic_load_n(&from->error, __ATOMIC_RELAXED);
        now.delay = __atomic_load_n(&from->delay, __ATOMIC_RELAXED);
        now.share = __atomic_load_n(&from->share, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (__atomic_load_n(&disk->changes, __ATOMIC_RELAXED) != *changes);
    return now;
}

/* Waits so long, or, if that is 0, for ever; but only while that rule is in force. Returns whether it is. */
static int hold(uint8_t changes, int64_t span)
{
    struct timespec from, now;
    clock_gettime(CLOCK_MONOTONIC, &from);
    while (__atomic_load_n(&disk->changes, __ATOMIC_ACQUIRE) == changes) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t left = span - ((now.tv_sec - from.tv_sec) * SECOND + now.tv_nsec - from.tv_nsec);
        if (span && left <= 0)
            return 1;
        struct timespec pause = { .tv_nsec = span && left < LOOK_AGAIN ? left : LOOK_AGAIN };
        nanosleep(&pause, NULL);
    }
    return 0;
}

/* A number that differs from write to write (splitmix64). */
static uint64_t drawn(uint64_t number)
{
    number += 0x9e3779b97f4a7c15ULL;
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9ULL;
    number = (number ^ number >> 27) * 0x94d049bb133111ebULL;
    return number ^ number >> 31;
}

/* Lets a call pass, perhaps later, or with fewer bytes to write. Returns the error with which it fails instead; 0 if it
 * passes. */
static int admit(enum operation operation, int kind, size_t *bytes)
{
    int before = errno, error = 0, is_hit = 0;
    uint64_t number = __atomic_fetch_add(&disk->calls[operation][kind], 1, __ATOMIC_RELAXED);
    take_rule();
    for (int is_held = 1; is_held;) {
        uint8_t changes;
        struct rule now = rule(&changes);
        is_held = 0;
        if (now.effect == PASSES || !(now.operations >> operation & 1) || !(now.files >> kind & 1))
            break;
        if (now.effect == IS_SHORT) {
            uint64_t number_of_write = drawn(number);
            if (!bytes || *bytes < 2 || number_of_write % MILLION >= now.share)
                break;
            *bytes = 1 + drawn(number_of_write) % (*bytes - 1);
        }
        if (!is_hit)
            __atomic_fetch_add(&disk->hits[operation][kind], 1, __ATOMIC_RELAXED);
        is_hit = 1;
        if (now.effect == FAILS)
            error = (int)now.error;
        else if (now.effect == IS_SLOW)
            /* Another rule may have come into force meanwhile. */
            is_held = !hold(changes, (int64_t)now.delay);
        else if (now.effect == STALLS)
            is_held = !hold(changes, 0);
    }
    errno = before;
    return error;
}

/* Files by their names. */

static int starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Temporary files are of the kind whose place they take: temp-123.rdb, temp-rewriteaof-bg-123.aof, nodes.conf.tmp-123-4. The
 * base of a multi-part AOF is of the AOF: appendonly.aof.1.base.rdb. */
static int kind_of_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (strstr(name, "aof"))
        return AOF;
    size_t length = strlen(name);
    if (length >= 4 && strcmp(name + length - 4, ".rdb") == 0)
        return RDB;
    return starts(name, "nodes.conf") ? NODES_CONF : OTHER;
}

/* Writes the absolute path of what a path means into `whole`. Returns whether it is on the disk. Where a path that goes up
 * leads is not known; no server has one. */
static int is_on_disk(int at, const char *path, char whole[PATH_MAX])
{
    if (!disk || !path || starts(path, "../") || strstr(path, "/../"))
        return 0;
    long length = 0;
    if (*path != '/') {
        if (at == AT_FDCWD) {
            /* The length includes the final 0. */
            length = raw(SYS_getcwd, (long)whole, PATH_MAX, 0, 0, 0, 0) - 1;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            length = raw(SYS_readlinkat, AT_FDCWD, (long)link, (long)whole, PATH_MAX - 1, 0, 0);
        }
        if (length <= 0)
            return 0;
        while (starts(path, "./"))
            path += 2;
        whole[length++] = '/';
    }
    size_t more = strlen(path);
    if (length + more >= PATH_MAX)
        return 0;
    memcpy(whole + length, path, more + 1);
    return strncmp(whole, root, root_length) == 0 && (whole[root_length] == '/' || whole[root_length] == 0);
}

/* The kind of an open file. */
static int kind_of_file(int fd)
{
    if (!disk || fd < 0 || (size_t)fd >= sizeof files / sizeof *files)
        return ELSEWHERE;
    int known = __atomic_load_n(&files[fd].known, __ATOMIC_ACQUIRE);
    struct stat now;
    if (!known || raw(SYS_fstat, fd, (long)&now, 0, 0, 0, 0) < 0)
        return ELSEWHERE;
    return files[fd].device == now.st_dev && files[fd].number == now.st_ino ? known - 1 : ELSEWHERE;
}

/* Remembers what an opened file is. */
static int remember(int fd, const char *whole)
{
    struct stat now;
    if ((size_t)fd >= sizeof files / sizeof *files || raw(SYS_fstat, fd, (long)&now, 0, 0, 0, 0) < 0)
        return ELSEWHERE;
    int kind = S_ISDIR(now.st_mode) ? DIRECTORY : S_ISREG(now.st_mode) ? kind_of_name(whole) : ELSEWHERE;
    files[fd].device = now.st_dev;
    files[fd].number = now.st_ino;
    __atomic_store_n(&files[fd].known, kind + 1, __ATOMIC_RELEASE);
    return kind;
}

static int fails(int error)
{
    errno = error;
    return -1;
}

/* Opening and closing. */

static int opened(int at, const char *path, int flags, mode_t mode)
{
    char whole[PATH_MAX];
    if (!is_on_disk(at, path, whole))
        return (int)settled(raw(SYS_openat, at, (long)path, flags, mode, 0, 0));
    /* Before it is open, only its name tells what it is. */
    int error = admit(OPEN, flags & O_DIRECTORY ? DIRECTORY : kind_of_name(whole), NULL);
    if (error)
        return fails(error);
    durable_before(&(struct naming) { .operation = OPEN, .path = whole, .flags = flags });
    int is_new = flags & O_CREAT && raw(SYS_faccessat, at, (long)path, F_OK, 0, 0, 0) == -ENOENT;
    int fd = (int)settled(raw(SYS_openat, at, (long)path, flags, mode, 0, 0));
    if (fd < 0)
        return fd;
    remember(fd, whole);
    if (is_new)
        durable_created(fd, whole);
    return fd;
}

/* The mode, if the flags say that there is one. */
#define MODE(flags)                                                                                                    \
    ({                                                                                                                 \
        mode_t mode = 0;                                                                                               \
        if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {                                                 \
            va_list list;                                                                                              \
            va_start(list, flags);                                                                                     \
            mode = va_arg(list, mode_t);                                                                               \
            va_end(list);                                                                                              \
        }                                                                                                              \
        mode;                                                                                                          \
    })

EXPORT int open(const char *path, int flags, ...)
{
    return opened(AT_FDCWD, path, flags, MODE(flags));
}

EXPORT int open64(const char *path, int flags, ...)
{
    return opened(AT_FDCWD, path, flags, MODE(flags));
}

EXPORT int openat(int at, const char *path, int flags, ...)
{
    return opened(at, path, flags, MODE(flags));
}

EXPORT int openat64(int at, const char *path, int flags, ...)
{
    return opened(at, path, flags, MODE(flags));
}

EXPORT int creat(const char *path, mode_t mode)
{
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT int creat64(const char *path, mode_t mode)
{
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* What `open` becomes in programs that are compiled with _FORTIFY_SOURCE. */
EXPORT int __open_2(const char *path, int flags)
{
    return opened(AT_FDCWD, path, flags, 0);
}

EXPORT int __open64_2(const char *path, int flags)
{
    return opened(AT_FDCWD, path, flags, 0);
}

EXPORT int __openat_2(int at, const char *path, int flags)
{
    return opened(at, path, flags, 0);
}

EXPORT int __openat64_2(int at, const char *path, int flags)
{
    return opened(at, path, flags, 0);
}

EXPORT int close(int fd)
{
    if (disk && fd >= 0 && (size_t)fd < sizeof files / sizeof *files)
        __atomic_store_n(&files[fd].known, 0, __ATOMIC_RELEASE);
    return (int)settled(raw(SYS_close, fd, 0, 0, 0, 0, 0));
}

/* Writing. */

EXPORT ssize_t write(int fd, const void *from, size_t bytes)
{
    int kind = kind_of_file(fd);
    if (kind == ELSEWHERE)
        return settled(raw(SYS_write, fd, (long)from, bytes, 0, 0, 0));
    int error = admit(WRITE, kind, &bytes);
    if (error)
        return fails(error);
    return settled(raw(SYS_write, fd, (long)from, bytes, 0, 0, 0));
}

EXPORT ssize_t pwrite64(int fd, const void *from, size_t bytes, off64_t offset)
{
    int kind = kind_of_file(fd);
    if (kind == ELSEWHERE)
        return settled(raw(SYS_pwrite64, fd, (long)from, bytes, offset, 0, 0));
    int error = admit(WRITE, kind, &bytes);
    if (error)
        return fails(error);
    return settled(raw(SYS_pwrite64, fd, (long)from, bytes, offset, 0, 0));
}

EXPORT ssize_t pwrite(int fd, const void *from, size_t bytes, off_t offset)
{
    return pwrite64(fd, from, bytes, offset);
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    int kind = kind_of_file(fd);
    if (kind == ELSEWHERE)
        return settled(raw(SYS_writev, fd, (long)parts, count, 0, 0, 0));
    size_t whole = 0;
    for (int part = 0; part < count; part++)
        whole += parts[part].iov_len;
    size_t bytes = whole;
    int error = admit(WRITE, kind, &bytes);
    if (error)
        return fails(error);
    if (bytes == whole)
        return settled(raw(SYS_writev, fd, (long)parts, count, 0, 0, 0));
    /* Fewer bytes: a part of the first that has any. */
    while (!parts->iov_len)
        parts++;
    size_t first = parts->iov_len < bytes ? parts->iov_len : bytes;
    return settled(raw(SYS_write, fd, (long)parts->iov_base, first, 0, 0, 0));
}

/* Synchronising. */

static int synced(long number, int fd)
{
    int kind = kind_of_file(fd);
    int error = kind == ELSEWHERE ? 0 : admit(FSYNC, kind, NULL);
    if (error)
        return fails(error);
    struct mark mark = { 0 };
    if (kind != ELSEWHERE)
        mark = durable_mark(fd);
    int result = (int)settled(raw(number, fd, 0, 0, 0, 0, 0));
    if (result == 0)
        durable_synced(mark);
    return result;
}

EXPORT int fsync(int fd)
{
    return synced(SYS_fsync, fd);
}

EXPORT int fdatasync(int fd)
{
    return synced(SYS_fdatasync, fd);
}

/* It makes nothing durable. */
EXPORT int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned int flags)
{
    int kind = kind_of_file(fd);
    int error = kind == ELSEWHERE ? 0 : admit(FSYNC, kind, NULL);
    return error ? fails(error) : (int)settled(raw(SYS_sync_file_range, fd, offset, bytes, flags, 0, 0));
}

/* Names and lengths. */

static int renamed(int from_at, const char *from, int to_at, const char *to, unsigned int flags)
{
    char old[PATH_MAX], new[PATH_MAX];
    int is_here = is_on_disk(to_at, to, new) && is_on_disk(from_at, from, old);
    int kind = is_here ? kind_of_name(new) : ELSEWHERE;
    int error = is_here ? admit(RENAME, kind, NULL) : 0;
    if (error)
        return fails(error);
    if (is_here)
        durable_before(&(struct naming) { .operation = RENAME, .path = old, .to = new });
    int result = (int)settled(raw(SYS_renameat2, from_at, (long)from, to_at, (long)to, flags, 0));
    return result;
}

EXPORT int rename(const char *from, const char *to)
{
    return renamed(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int renameat(int from_at, const char *from, int to_at, const char *to)
{
    return renamed(from_at, from, to_at, to, 0);
}

EXPORT int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned int flags)
{
    return renamed(from_at, from, to_at, to, flags);
}

static int unlinked(int at, const char *path, int flags)
{
    char whole[PATH_MAX];
    int is_here = is_on_disk(at, path, whole);
    int kind = is_here ? kind_of_name(whole) : ELSEWHERE;
    int error = is_here ? admit(UNLINK, kind, NULL) : 0;
    if (error)
        return fails(error);
    if (is_here)
        durable_before(&(struct naming) { .operation = UNLINK, .path = whole });
    int result = (int)settled(raw(SYS_unlinkat, at, (long)path, flags, 0, 0, 0));
    return result;
}

EXPORT int unlink(const char *path)
{
    return unlinked(AT_FDCWD, path, 0);
}

EXPORT int unlinkat(int at, const char *path, int flags)
{
    return unlinked(at, path, flags);
}

EXPORT int ftruncate64(int fd, off64_t length)
{
    int kind = kind_of_file(fd);
    int error = kind == ELSEWHERE ? 0 : admit(TRUNCATE, kind, NULL);
    if (error)
        return fails(error);
    int result = (int)settled(raw(SYS_ftruncate, fd, length, 0, 0, 0, 0));
    return result;
}

EXPORT int ftruncate(int fd, off_t length)
{
    return ftruncate64(fd, length);
}

EXPORT int truncate64(const char *path, off64_t length)
{
    char whole[PATH_MAX];
    int is_here = is_on_disk(AT_FDCWD, path, whole);
    int kind = is_here ? kind_of_name(whole) : ELSEWHERE;
    int error = is_here ? admit(TRUNCATE, kind, NULL) : 0;
    if (error)
        return fails(error);
    int result = (int)settled(raw(SYS_truncate, (long)path, length, 0, 0, 0, 0));
    return result;
}

EXPORT int truncate(const char *path, off_t length)
{
    return truncate64(path, length);
}

/* Streams. */

#include "streams.h"
