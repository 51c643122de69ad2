/*
 * What durable.c is told by files.c.
 */
#ifndef SLOTQUAKE_DURABLE_H
#define SLOTQUAKE_DURABLE_H

#include "files.h"

/* A file, and how far it and the log had come when an fsync of it began. */
struct mark {
    uint64_t number; /* of the file; 0 for none */
    int is_directory;
    int64_t length; /* of the file */
    int64_t log_length;
};

/* Before a RENAME, an UNLINK, or an OPEN that may write. */
void durable_before(const struct naming *call);

/* After an OPEN that created a file. */
void durable_created(int fd, const char *path);

/* Before an fsync, and after one that has succeeded. */
struct mark durable_mark(int fd);
void durable_synced(struct mark mark);

#endif
