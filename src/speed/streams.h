/* The part of files.c about streams; included at its end. */

static int descriptor(void *cookie)
{
    return (int)(intptr_t)cookie;
}

static ssize_t read_stream(void *cookie, char *to, size_t bytes)
{
    return settled(raw(SYS_read, descriptor(cookie), (long)to, bytes, 0, 0, 0));
}

/* As libc does it: until everything is written, or a call fails. */
static ssize_t write_stream(void *cookie, const char *from, size_t bytes)
{
    size_t done_bytes = 0;
    while (done_bytes < bytes) {
        ssize_t result = write(descriptor(cookie), from + done_bytes, bytes - done_bytes);
        if (result <= 0)
            break;
        done_bytes += (size_t)result;
    }
    return (ssize_t)done_bytes;
}

static int seek_stream(void *cookie, off64_t *offset, int from)
{
    long result = settled(raw(SYS_lseek, descriptor(cookie), *offset, from, 0, 0, 0));
    if (result < 0)
        return -1;
    *offset = result;
    return 0;
}

static int close_stream(void *cookie)
{
    return close(descriptor(cookie));
}

/* The flags of `open` for a mode of `fopen`; -1 for none. */
static int flags_of(const char *mode)
{
    int flags = 0;
    switch (*mode) {
    case 'r':
        break;
    case 'w':
        flags = O_CREAT | O_TRUNC;
        break;
    case 'a':
        flags = O_CREAT | O_APPEND;
        break;
    default:
        return -1;
    }
    int writes = *mode != 'r', reads = *mode == 'r';
    for (mode++; *mode && *mode != ','; mode++) {
        if (*mode == '+')
            writes = reads = 1;
        else if (*mode == 'e')
            flags |= O_CLOEXEC;
        else if (*mode == 'x')
            flags |= O_EXCL;
    }
    return flags | (writes ? reads ? O_RDWR : O_WRONLY : O_RDONLY);
}

static FILE *opened_stream(const char *path, const char *mode)
{
    char whole[PATH_MAX];
    int flags = flags_of(mode);
    if (flags < 0 || !is_on_disk(AT_FDCWD, path, whole))
        return real_fopen(path, mode);
    if ((flags & O_ACCMODE) == O_RDONLY) {
        /* Nothing looks at what is read. */
        int error = admit(OPEN, kind_of_name(whole), NULL);
        if (!error)
            return real_fopen(path, mode);
        errno = error;
        return NULL;
    }
    int fd = opened(AT_FDCWD, path, flags, 0666);
    if (fd < 0)
        return NULL;
    cookie_io_functions_t functions = { read_stream, write_stream, seek_stream, close_stream };
    FILE *stream = fopencookie((void *)(intptr_t)fd, mode, functions);
    if (!stream) {
        close(fd);
        return NULL;
    }
    /* For `fileno`, so that programs can synchronise what they have written. A stream of this sort has -2 there, and libc uses
     * it for nothing else. */
    stream->_fileno = fd;
    return stream;
}

EXPORT FILE *fopen(const char *path, const char *mode)
{
    if (!real_fopen)
        real_fopen = (__typeof__(real_fopen))dlsym(RTLD_NEXT, "fopen");
    return disk ? opened_stream(path, mode) : real_fopen(path, mode);
}

EXPORT FILE *fopen64(const char *path, const char *mode)
{
    return fopen(path, mode);
}
