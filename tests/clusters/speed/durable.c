/*
 * What the tests of a loss of power do to files. Each argument is a verb and its words: "append a text".
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int holds, const char *what)
{
    if (!holds) {
        perror(what);
        exit(1);
    }
}

static void put(const char *path, int flags, const char *text, int is_synced)
{
    int file = open(path, O_WRONLY | O_CREAT | flags, 0600);
    check(file >= 0, path);
    check(write(file, text, strlen(text)) == (ssize_t)strlen(text), path);
    check(!is_synced || fdatasync(file) == 0, path);
    close(file);
}

static void synchronise(const char *path)
{
    int file = open(path, O_RDONLY);
    check(file >= 0 && fsync(file) == 0, path);
    close(file);
}

/* As Redis writes a snapshot. */
static void stream(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    check(file && fwrite(text, strlen(text), 1, file) == 1 && fflush(file) == 0, path);
    check(fsync(fileno(file)) == 0 && fclose(file) == 0, path);
}

/* As Redis before 7.2 saves nodes.conf. */
static void overwrite(const char *path, const char *text, int is_synced)
{
    put(path, 0, text, is_synced);
    check(truncate(path, (off_t)strlen(text)) == 0, path);
}

static void act(char *words)
{
    const char *verb = strtok(words, " "), *path = strtok(NULL, " "), *text = strtok(NULL, "");
    if (!strcmp(verb, "append"))
        put(path, O_APPEND, text, 0);
    else if (!strcmp(verb, "append-sync"))
        put(path, O_APPEND, text, 1);
    else if (!strcmp(verb, "replace"))
        put(path, O_TRUNC, text, 0);
    else if (!strcmp(verb, "overwrite"))
        overwrite(path, text, 0);
    else if (!strcmp(verb, "overwrite-sync"))
        overwrite(path, text, 1);
    else if (!strcmp(verb, "stream"))
        stream(path, text);
    else if (!strcmp(verb, "sync"))
        synchronise(path);
    else if (!strcmp(verb, "rename"))
        check(rename(path, text) == 0, path);
    else if (!strcmp(verb, "wait")) {
        char byte;
        check(read(0, &byte, 1) == 0, "the end of the input");
    } else if (!strcmp(verb, "unlink"))
        check(unlink(path) == 0, path);
    else
        check(0, verb);
}

int main(int count, char **arguments)
{
    for (int n = 1; n < count; n++) {
        /* A verb with a + is done by a child. */
        if (*arguments[n] != '+') {
            act(arguments[n]);
            continue;
        }
        pid_t child = fork();
        if (child == 0) {
            act(arguments[n] + 1);
            return 0;
        }
        int status;
        check(waitpid(child, &status, 0) == child && status == 0, arguments[n]);
    }
    return 0;
}
