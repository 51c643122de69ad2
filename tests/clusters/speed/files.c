/*
 * Calls on the files of the current directory, as the arguments say, three words each: what, a path, and a text. Prints a
 * line for each: the words, the result, and the error if there was one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *what, *path, *text;

static void tell(const char *call, long result)
{
    const char *error = result < 0 ? strerrorname_np(errno) : "";
    printf("%s %s %ld%s%s\n", call, path, result, *error ? " " : "", error);
    fflush(stdout);
}

static int open_to_append(void)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0)
        tell("open", fd);
    return fd;
}

/* Writes, synchronises, and closes. */
static void append(void)
{
    int fd = open_to_append();
    if (fd < 0)
        return;
    tell("write", write(fd, text, strlen(text)));
    tell("fsync", fdatasync(fd));
    close(fd);
}

/* Every call that writes, at one place. */
static void write_each_way(void)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return;
    struct iovec parts[] = { { "", 0 }, { (void *)text, 1 }, { (void *)(text + 1), strlen(text) - 1 } };
    tell("write", write(fd, text, strlen(text)));
    tell("pwrite", pwrite(fd, text, strlen(text), 0));
    lseek(fd, 0, SEEK_SET);
    tell("writev", writev(fd, parts, 3));
    tell("sync_file_range", sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
    tell("ftruncate", ftruncate(fd, 1));
    close(fd);
    tell("truncate", truncate(path, 0));
}

/* As Redis writes a snapshot. */
static void stream(void)
{
    FILE *file = fopen(path, "w");
    if (!file) {
        tell("fopen", -1);
        return;
    }
    tell("fwrite", fwrite(text, strlen(text), 1, file) == 1 ? 0 : -1);
    tell("fflush", fflush(file));
    tell("fsync", fsync(fileno(file)));
    tell("fclose", fclose(file));
}

/* A stream that is read and written, as one without the library is. */
static void seek(void)
{
    char read[16] = "";
    FILE *file = fopen(path, "w+e");
    fprintf(file, "%s", text);
    fputs("-end", file);
    long length = ftell(file);
    fseek(file, 1, SEEK_SET);
    size_t count = fread(read, 1, 3, file);
    fseek(file, 0, SEEK_CUR);
    fputc('!', file);
    fclose(file);
    file = fopen(path, "a");
    fputs("+", file);
    fclose(file);
    file = fopen(path, "r");
    char whole[64] = "";
    if (!fgets(whole, sizeof whole, file))
        perror("fgets");
    fclose(file);
    printf("seek %s %ld %zu %s %s\n", path, length, count, read, whole);
    path = "missing/file.rdb";
    tell("fopen", fopen(path, "w") ? 0 : -1);
}

/* A child has the disk of its parent. */
static void fork_and_append(void)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        append();
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

/* The descriptor of a file of the disk becomes that of a pipe, without `close`. */
static void reuse(void)
{
    int fd = open_to_append(), pipes[2];
    if (fd < 0 || pipe(pipes) != 0)
        return;
    dup2(pipes[1], fd);
    tell("pipe", write(fd, text, strlen(text)));
}

/* Until everything is written, however often that takes. */
static void append_all(void)
{
    int fd = open_to_append(), shorts = 0;
    for (int time = 0; time < 1000; time++) {
        const char *from = text;
        while (*from) {
            ssize_t wrote = write(fd, from, strlen(from));
            if (wrote <= 0) {
                tell("write", wrote);
                return;
            }
            from += wrote;
            shorts += *from != 0;
        }
    }
    tell("shorts", shorts);
}

int main(int count, char **words)
{
    for (int word = 1; word + 2 < count; word += 3) {
        what = words[word], path = words[word + 1], text = words[word + 2];
        if (!strcmp(what, "append"))
            append();
        else if (!strcmp(what, "write-each-way"))
            write_each_way();
        else if (!strcmp(what, "stream"))
            stream();
        else if (!strcmp(what, "seek"))
            seek();
        else if (!strcmp(what, "fork"))
            fork_and_append();
        else if (!strcmp(what, "reuse"))
            reuse();
        else if (!strcmp(what, "append-all"))
            append_all();
        else if (!strcmp(what, "rename"))
            tell("rename", rename(path, text));
        else if (!strcmp(what, "unlink"))
            tell("unlink", unlink(path));
        else if (!strcmp(what, "sync-directory")) {
            int fd = open(path, O_RDONLY | O_DIRECTORY);
            tell("fsync", fsync(fd));
            close(fd);
        } else
            return 2;
    }
    return 0;
}
