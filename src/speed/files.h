/*
 * What the library knows of a server's files (files.c), and what it tells of each call (durable.c).
 *
 * A server has a disk of its own if VARIABLE_OF_DISK names a file: the directory of that file is its disk. Every regular
 * file in it, and in the folders below, counts as of a kind, by its name. The file itself is mapped: slotquake writes a rule
 * into it, and the library counts the calls.
 */
#ifndef SLOTQUAKE_FILES_H
#define SLOTQUAKE_FILES_H

#include <stddef.h>
#include <stdint.h>

/* The path of the file that rules the disk of this process; without it, calls go to the system as they are. */
#define VARIABLE_OF_DISK "SLOTQUAKE_DISK"

/* What a file is, by its name. The numbers are those of src/speed/disk.rs. */
enum file_kind { AOF, RDB, NODES_CONF, OTHER, DIRECTORY, FILE_KINDS, ELSEWHERE = -1 };

/* What is done to a file. The numbers are those of src/speed/disk.rs. */
enum operation { WRITE, FSYNC, OPEN, RENAME, TRUNCATE, UNLINK, OPERATIONS };

/* A call that is about to give a name to a file, or to take it away: OPEN, RENAME or UNLINK. */
struct naming {
    enum operation operation;
    /* The absolute path; of RENAME the old one. */
    const char *path;
    /* The new path of RENAME; else NULL. */
    const char *to;
    /* Of OPEN its flags; else 0. */
    int flags;
};

/* Tells the process's disk file that the process reads it. */
void take_rule(void);

#endif
