/*
 * What a loss of power would leave of a server's files.
 *
 * The library keeps a log of what happens to the names and the lengths of files, and slotquake undoes by it, when all processes
 * of the server are gone, what was not durable (src/speed/durable.rs). A name or a content that is about to be overwritten or
 * removed is kept beside the log: by a second name for the file, or by a copy.
 *
 * Writes are not logged: bytes are durable up to the length that a file had when the last successful fsync of it began.
 *
 * A record is written before what it tells of, except for those that say that something is durable. So a process that is
 * killed in between leaves a record of something that did not happen, which can be seen from the files, and never an act
 * without a record.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "durable.h"
#include "raw.h"

/* The path of the log; without it, there is none. What is kept goes to the folder of that path with ".kept". */
#define VARIABLE_OF_LOG "SLOTQUAKE_DURABLE"

/* A copy is made of files up to this length. Servers overwrite in place only nodes.conf (Redis before 7.2). */
#define COPIED_MAX (4L << 20)

/* Descriptors of a server's own are lower. */
#define HIGH_DESCRIPTOR 700

static int log_file = -1;
static char kept[PATH_MAX];

/* Tells apart what one process keeps. */
static uint64_t number_of_kept;

static int64_t log_length(void)
{
    struct stat now;
    return raw(SYS_fstat, log_file, (long)&now, 0, 0, 0, 0) < 0 ? 0 : now.st_size;
}

/* Appends one line. The kernel appends it as a whole, whoever else does. */
static void record(const char *line, int length)
{
    if (length > 0)
        raw(SYS_write, log_file, (long)line, length, 0, 0, 0);
}

/* Names with these would end a field or a line. No server has such. */
static int is_plain(const char *path)
{
    return !strpbrk(path, "\t\n");
}

__attribute__((constructor)) static void open_log(void)
{
    const char *path = getenv(VARIABLE_OF_LOG);
    if (!path || strlen(path) + sizeof ".kept" > sizeof kept)
        return;
    long file = raw(SYS_openat, AT_FDCWD, (long)path, O_WRONLY | O_APPEND | O_CLOEXEC, 0, 0, 0);
    if (file < 0)
        return;
    long high = raw(SYS_fcntl, file, F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR, 0, 0, 0);
    if (high >= 0) {
        raw(SYS_close, file, 0, 0, 0, 0, 0);
        file = high;
    }
    snprintf(kept, sizeof kept, "%s.kept", path);
    log_file = (int)file;
}

/* A new path for something that is kept. */
static void new_path(char path[PATH_MAX])
{
    uint64_t number = __atomic_add_fetch(&number_of_kept, 1, __ATOMIC_RELAXED);
    long pid = raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
    snprintf(path, PATH_MAX, "%.*s/%ld-%llu", PATH_MAX - 64, kept, pid, (unsigned long long)number);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Gives a file a second name, so that it outlives its first. Returns the last part of it; "-" if there is no such file. */
static const char *keep(const char *path, char to[PATH_MAX])
{
    new_path(to);
    return raw(SYS_linkat, AT_FDCWD, (long)path, AT_FDCWD, (long)to, 0, 0) < 0 ? "-" : last_part(to);
}

/* Copies the content of a file. Returns the last part of the copy's name; "-" if it could not be copied. */
static const char *copy(const char *path, char to[PATH_MAX])
{
    new_path(to);
    const char *name = "-";
    long from = raw(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (from < 0)
        return name;
    long into = raw(SYS_openat, AT_FDCWD, (long)to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600, 0, 0);
    if (into >= 0) {
        char bytes[16384];
        long count;
        while ((count = raw(SYS_read, from, (long)bytes, sizeof bytes, 0, 0, 0)) > 0)
            if (raw(SYS_write, into, (long)bytes, count, 0, 0, 0) != count)
                break;
        if (count == 0)
            name = last_part(to);
        raw(SYS_close, into, 0, 0, 0, 0, 0);
    }
    raw(SYS_close, from, 0, 0, 0, 0, 0);
    return name;
}

/* The file at a path: 0 if there is none. */
static unsigned long long file_at(const char *path, struct stat *file)
{
    return raw(SYS_newfstatat, AT_FDCWD, (long)path, (long)file, AT_SYMLINK_NOFOLLOW, 0, 0) < 0 ? 0 : file->st_ino;
}

/* Of the paths of a call, those that fit a line. */
#define LINE_MAX_BYTES (2 * PATH_MAX + 128)

void durable_before(const struct naming *call)
{
    if (log_file < 0 || !call->path || !is_plain(call->path) || (call->to && !is_plain(call->to)))
        return;
    int before = errno;
    char line[LINE_MAX_BYTES], to[PATH_MAX];
    struct stat file, other;
    unsigned long long number = file_at(call->path, &file);
    int length = 0;
    if (call->operation == RENAME && number && number != file_at(call->to, &other))
        length = snprintf(line, sizeof line, "rename\t%llu\t%lld\t%s\t%s\t%s\n", number, (long long)file.st_size,
                          keep(call->to, to), call->path, call->to);
    else if (call->operation == UNLINK && number && !S_ISDIR(file.st_mode))
        length = snprintf(line, sizeof line, "unlink\t%llu\t%s\t%s\n", number, keep(call->path, to), call->path);
    else if (call->operation == OPEN && number && S_ISREG(file.st_mode) && (call->flags & O_ACCMODE) != O_RDONLY) {
        /* A file that is already there, and may be overwritten. */
        int is_appended = call->flags & O_APPEND && !(call->flags & O_TRUNC);
        const char *name = "-";
        if (!is_appended && file.st_size && file.st_size <= COPIED_MAX)
            name = copy(call->path, to);
        length = snprintf(line, sizeof line, "open\t%llu\t%lld\t%s\t%s\n", number, (long long)file.st_size, name, call->path);
    }
    record(line, length);
    errno = before;
}

void durable_created(int fd, const char *path)
{
    struct stat file;
    if (log_file < 0 || !is_plain(path) || raw(SYS_fstat, fd, (long)&file, 0, 0, 0, 0) < 0 || !S_ISREG(file.st_mode))
        return;
    char line[LINE_MAX_BYTES];
    record(line, snprintf(line, sizeof line, "create\t%llu\t%s\n", (unsigned long long)file.st_ino, path));
}

struct mark durable_mark(int fd)
{
    struct stat file;
    struct mark mark = { 0 };
    if (log_file < 0 || raw(SYS_fstat, fd, (long)&file, 0, 0, 0, 0) < 0)
        return mark;
    /* The log first: what comes after it may not be covered. */
    mark.log_length = log_length();
    mark.number = file.st_ino;
    mark.is_directory = S_ISDIR(file.st_mode);
    raw(SYS_fstat, fd, (long)&file, 0, 0, 0, 0);
    mark.length = file.st_size;
    return mark;
}

void durable_synced(struct mark mark)
{
    if (log_file < 0 || !mark.number)
        return;
    char line[128];
    const char *word = mark.is_directory ? "sync-folder" : "sync";
    record(line, snprintf(line, sizeof line, "%s\t%llu\t%lld\t%lld\n", word, (unsigned long long)mark.number,
                          (long long)mark.length, (long long)mark.log_length));
}
