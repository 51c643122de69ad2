/*
 * Dilated time: a library for LD_PRELOAD under which a process lives N times as fast.
 *
 * Clocks: base + (real - base) * N, for the wall clock and the monotonic ones. The bases are taken once, by the process
 * that starts everything, and handed down in the environment, so that all processes agree exactly. Timeouts are divided
 * by N and rounded up, so a positive one never becomes 0. A process that sets the clock of its speed lives at another one
 * from then on: its monotonic clocks go on, its wall clock begins again at real time, and so do those that it starts.
 *
 * A process may have a wall clock of its own, or a monotonic clock, which differs from that time by what a file says: an
 * offset, all the time or by turns, and a drift from a moment on. Its other clocks and its timeouts do not differ. The file
 * is mapped, so a change shows at once. A wait until a moment of that clock that has begun does not see a later change, as
 * it would if the system's clock was set. Into the same file the library writes what it told of these clocks.
 *
 * Not dilated: clocks of CPU time, times of files, and what the kernel times by itself (TCP's retransmissions and
 * keep-alive, nft, netem). Calls without libc (Go, static binaries) do not come here.
 *
 * No locks and no memory of its own, so every function is safe in signal handlers and after fork. Clocks are right before
 * the constructor ran: other libraries' constructors read them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <limits.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "files.h"
#include "raw.h"

/* Linux 5.11; older headers do not have it. */
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

/* "N REALTIME MONOTONIC RAW BOOTTIME TAI": the speed, and the bases in nanoseconds. */
#define VARIABLE "SLOTQUAKE_DILATION"

/* The path of the file that says how a clock of this process differs; without it, none does. */
#define VARIABLE_OF_CLOCK "SLOTQUAKE_CLOCK"

/* Clocks that only this library has: its speed in seconds, which can be set, the real wall clock, and from there on the
 * bases, in their order. The kernel refuses their numbers. */
#define CLOCK_OF_SPEED 21328
#define CLOCK_OF_REAL_TIME 21329
#define CLOCK_OF_BASES 21330

/* The kernel's default for how late it may wake a thread. */
#define SLACK_NS 50000

enum { REALTIME, MONOTONIC, RAW, BOOTTIME, TAI, BASES };

struct dilation {
    int64_t speed;
    int64_t base[BASES]; /* in nanoseconds of real time */
    int64_t ahead[BASES]; /* of real time, at the base; 0 unless the speed was changed */
};

/* The one that is in force, and one to write the next one to. Who reads one while the speed changes twice may read
 * nonsense, so it must not be changed more often than a thread may be kept from running. */
static struct dilation dilations[2];
static const struct dilation *in_force; /* NULL before the variable was read */

/* The clocks that may differ: REALTIME and MONOTONIC. */
#define OWN_CLOCKS 2

/* How a clock differs from that of everybody else. */
struct skew {
    int64_t clock; /* which one: REALTIME or MONOTONIC */
    int64_t offset; /* in nanoseconds */
    int64_t drift; /* in millionths, from a moment on */
    int64_t half; /* if not 0, it differs by turns: that many nanoseconds by the offset, and then not at all */
    int64_t lasts; /* for how many nanoseconds it does, if by turns */
    int64_t from[OWN_CLOCKS]; /* since which moment, by everybody else's clocks, in nanoseconds */
};

/* What was told of a clock. */
struct told {
    uint64_t count; /* how often */
    int64_t ahead; /* by how much it was ahead of everybody else's the last time, in nanoseconds */
};

/* The file of the clocks, which src/speed/clock.rs writes, apart from what was told. The number of changes says which of
 * the two skews is in force. */
struct clock_file {
    uint64_t format;
    uint8_t changes;
    uint8_t unused[7];
    struct told told[OWN_CLOCKS];
    struct skew skews[2];
};

/* "slotclk2" */
#define FORMAT_OF_CLOCK 0x326b6c63746f6c73ULL

#define MILLION 1000000LL

static struct clock_file *own_clock;

/* Maps the file of this process's clock. What is not such a file changes nothing; who set the variable finds out. */
static void map_own_clock(void)
{
    const char *path = getenv(VARIABLE_OF_CLOCK);
    if (!path || __atomic_load_n(&own_clock, __ATOMIC_ACQUIRE))
        return;
    long file = raw(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC, 0, 0, 0);
    if (file < 0)
        return;
    long size = sizeof *own_clock;
    long place = -1;
    if (raw(SYS_lseek, file, 0, SEEK_END, 0, 0, 0) >= size)
        place = raw(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    raw(SYS_close, file, 0, 0, 0, 0, 0);
    if (place < 0 && place > -4096)
        return;
    struct clock_file *mapped = (struct clock_file *)place, *none = NULL;
    /* Another thread may have been faster. */
    if (mapped->format != FORMAT_OF_CLOCK
        || !__atomic_compare_exchange_n(&own_clock, &none, mapped, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        raw(SYS_munmap, place, size, 0, 0, 0, 0);
}

/* Reads the variables, once. Threads that come at the same time write the same. */
static const struct dilation *settle(void)
{
    const struct dilation *known = __atomic_load_n(&in_force, __ATOMIC_ACQUIRE);
    if (known)
        return known;
    struct dilation *first = &dilations[0];
    int64_t numbers[1 + BASES] = { 1 };
    const char *text = getenv(VARIABLE);
    int count = 0;
    while (text && *text >= '0' && *text <= '9' && count < 1 + BASES) {
        int64_t number = 0;
        while (*text >= '0' && *text <= '9')
            number = number * 10 + (*text++ - '0');
        numbers[count++] = number;
        while (*text == ' ')
            text++;
    }
    int is_whole = count == 1 + BASES && *text == 0 && numbers[0] >= 1;
    first->speed = is_whole ? numbers[0] : 1;
    for (int clock = 0; clock < BASES; clock++)
        first->base[clock] = is_whole ? numbers[1 + clock] : 0;
    map_own_clock();
    __atomic_store_n(&in_force, first, __ATOMIC_RELEASE);
    return first;
}

static int64_t speed(void)
{
    return settle()->speed;
}

/* How a clock of this process differs now. The skew in force is written only after the other one has come into force, so
 * one that was in force before and after it was read is whole. */
static struct skew skew(void)
{
    struct skew now;
    uint8_t changes;
    do {
        changes = __atomic_load_n(&own_clock->changes, __ATOMIC_ACQUIRE);
        const int64_t *from = (const int64_t *)&own_clock->skews[changes & 1];
        for (size_t number = 0; number < sizeof now / sizeof *from; number++)
            ((int64_t *)&now)[number] = __atomic_load_n(&from[number], __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (__atomic_load_n(&own_clock->changes, __ATOMIC_RELAXED) != changes);
    return now;
}

/* How far a clock is ahead, so long after its skew began. */
static int64_t ahead(const struct skew *skew, int64_t since)
{
    if (since < 0)
        since = 0;
    if (skew->half > 0)
        return since < skew->lasts && since / skew->half % 2 == 0 ? skew->offset : 0;
    return skew->offset + since / MILLION * skew->drift + since % MILLION * skew->drift / MILLION;
}

/* What a clock of this process shows at a moment of everybody else's. */
static int64_t skewed(int clock, int64_t moment)
{
    if (!own_clock)
        return moment;
    struct skew now = skew();
    int64_t by = now.clock == clock ? ahead(&now, moment - now.from[clock]) : 0;
    struct told *told = &own_clock->told[clock];
    __atomic_store_n(&told->ahead, by, __ATOMIC_RELAXED);
    __atomic_add_fetch(&told->count, 1, __ATOMIC_RELEASE);
    return moment + by;
}

static int64_t moment_of(int clock);

/* When a clock that differs by turns shows that from now on, by everybody else's: while it is ahead, or once it is. */
static int64_t unstrobed(const struct skew *skew, int clock, int64_t shown)
{
    int64_t from = skew->from[clock], now = moment_of(clock);
    int64_t highest = skew->offset > 0 ? skew->offset : 0, lowest = skew->offset - highest;
    int64_t early = shown - highest > now ? shown - highest : now, late = shown - lowest;
    int64_t since = early > from ? early - from : 0;
    if (since >= skew->lasts)
        return shown;
    if (ahead(skew, since) == highest)
        return early;
    int64_t next = (since / skew->half + 1) * skew->half;
    /* At its end it is right for good: one that was behind shows more, and one that was ahead by turns never is again. */
    if (next >= skew->lasts)
        next = highest == 0 ? skew->lasts : INT64_MAX - from;
    return from + next < late ? from + next : late;
}

/* When a clock of this process shows that, by everybody else's, rounded up. */
static int64_t unskewed(int clock, int64_t shown)
{
    if (!own_clock)
        return shown;
    struct skew now = skew();
    if (now.clock != clock)
        return shown;
    int64_t from = now.from[clock];
    if (now.half > 0)
        return unstrobed(&now, clock, shown);
    int64_t moment = shown - now.offset, rate = MILLION + now.drift;
    if (moment <= from || rate <= 0)
        return moment;
    int64_t since = moment - from;
    return from + since / rate * MILLION + (since % rate * MILLION + rate - 1) / rate;
}

/* The base of a clock; -1 for one that is not dilated. */
static int base_of(clockid_t clock)
{
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_REALTIME_ALARM:
        return REALTIME;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
        return MONOTONIC;
    case CLOCK_MONOTONIC_RAW:
        return RAW;
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
        return BOOTTIME;
    case CLOCK_TAI:
        return TAI;
    default:
        return -1;
    }
}

static int is_valid(const struct timespec *time)
{
    return time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < SECOND;
}

/* A time span of this process, in real time. */
static struct timespec shorter(struct timespec span)
{
    int64_t n = speed();
    int64_t nanoseconds = (span.tv_sec % n * SECOND + span.tv_nsec + n - 1) / n;
    return (struct timespec) { .tv_sec = span.tv_sec / n + nanoseconds / SECOND, .tv_nsec = nanoseconds % SECOND };
}

/* A real time span, in the time of this process. */
static struct timespec longer(struct timespec span)
{
    int64_t n = speed();
    int64_t nanoseconds = span.tv_nsec * n;
    return (struct timespec) { .tv_sec = span.tv_sec * n + nanoseconds / SECOND, .tv_nsec = nanoseconds % SECOND };
}

static struct timespec milliseconds(int timeout)
{
    return (struct timespec) { .tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L };
}

/* When a moment of this process comes, in real time, rounded up. */
static struct timespec sooner(int clock, struct timespec moment)
{
    const struct dilation *now = settle();
    int64_t n = now->speed, base = now->base[clock];
    /* Beyond a century it never comes. */
    if (moment.tv_sec > base / SECOND + 3200000000LL)
        return moment;
    int64_t shown = moment.tv_sec * SECOND + moment.tv_nsec;
    int64_t until = (clock < OWN_CLOCKS ? unskewed(clock, shown) : shown) - now->ahead[clock] - base;
    int64_t real = base + (until > 0 ? (until + n - 1) / n : until / n);
    if (real < 0)
        real = 0;
    return (struct timespec) { .tv_sec = real / SECOND, .tv_nsec = real % SECOND };
}

/* The clock of a moment whose clock is not told: no machine has been up since 1990. */
static int clock_of(const struct timespec *moment)
{
    return moment->tv_sec > 631152000 ? REALTIME : MONOTONIC;
}

/* The functions of libc. Before the constructor ran, each is looked up when it is needed. */
#define REAL(name)                                                                                                     \
    ({                                                                                                                 \
        if (!real.name)                                                                                                \
            real.name = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                                    \
        real.name;                                                                                                     \
    })

static struct {
    __typeof__(&clock_gettime) clock_gettime;
    __typeof__(&clock_settime) clock_settime;
    __typeof__(&epoll_pwait) epoll_pwait;
    __typeof__(&ppoll) ppoll;
    __typeof__(&select) select;
    __typeof__(&pselect) pselect;
    __typeof__(&nanosleep) nanosleep;
    __typeof__(&clock_nanosleep) clock_nanosleep;
    __typeof__(&pthread_cond_timedwait) pthread_cond_timedwait;
    __typeof__(&pthread_mutex_timedlock) pthread_mutex_timedlock;
    __typeof__(&pthread_rwlock_timedrdlock) pthread_rwlock_timedrdlock;
    __typeof__(&pthread_rwlock_timedwrlock) pthread_rwlock_timedwrlock;
    __typeof__(&sem_timedwait) sem_timedwait;
    __typeof__(&timerfd_create) timerfd_create;
    __typeof__(&timerfd_settime) timerfd_settime;
    __typeof__(&timerfd_gettime) timerfd_gettime;
    __typeof__(&setitimer) setitimer;
    __typeof__(&getitimer) getitimer;
    __typeof__(&setsockopt) setsockopt;
    __typeof__(&getsockopt) getsockopt;
    __typeof__(&sigtimedwait) sigtimedwait;
    /* Not in every libc of the last ten years. */
    int (*pthread_cond_clockwait)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    int (*pthread_mutex_clocklock)(pthread_mutex_t *, clockid_t, const struct timespec *);
    int (*sem_clockwait)(sem_t *, clockid_t, const struct timespec *);
} real;

__attribute__((constructor)) static void prepare(void)
{
    settle();
    /* Only glibc has this function, so musl's linker refuses the library, with a message: it was never tried there. */
    gnu_get_libc_version();
    (void)REAL(clock_gettime), (void)REAL(epoll_pwait), (void)REAL(ppoll), (void)REAL(select), (void)REAL(pselect);
    (void)REAL(nanosleep), (void)REAL(clock_nanosleep), (void)REAL(pthread_cond_timedwait);
    (void)REAL(pthread_mutex_timedlock), (void)REAL(pthread_rwlock_timedrdlock), (void)REAL(pthread_rwlock_timedwrlock);
    (void)REAL(sem_timedwait), (void)REAL(timerfd_create), (void)REAL(timerfd_settime), (void)REAL(timerfd_gettime);
    (void)REAL(setitimer), (void)REAL(getitimer), (void)REAL(setsockopt), (void)REAL(getsockopt);
    (void)REAL(sigtimedwait);
    real.pthread_cond_clockwait = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
    real.pthread_mutex_clocklock = dlsym(RTLD_NEXT, "pthread_mutex_clocklock");
    real.sem_clockwait = dlsym(RTLD_NEXT, "sem_clockwait");
    /* Threads and programs that this one starts have it too. */
    if (speed() > 1)
        raw(SYS_prctl, PR_SET_TIMERSLACK, SLACK_NS / speed(), 0, 0, 0, 0);
}

/* Clocks. */

/* In libc this reads memory that the kernel shares; but it cannot be looked up before libc is ready. */
static int real_clock(clockid_t clock, struct timespec *now)
{
    if (real.clock_gettime)
        return real.clock_gettime(clock, now);
    return (int)settled(raw(SYS_clock_gettime, clock, (long)now, 0, 0, 0, 0));
}

static int64_t dilated(int base, const struct timespec *now)
{
    const struct dilation *dilation = settle();
    int64_t from = dilation->base[base];
    return from + dilation->ahead[base] + (now->tv_sec * SECOND + now->tv_nsec - from) * dilation->speed;
}

/* What a clock that may differ would show if it did not. */
static int64_t moment_of(int clock)
{
    struct timespec now = { 0 };
    real_clock(clock == REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC, &now);
    return dilated(clock, &now);
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (clock == CLOCK_OF_SPEED) {
        *now = (struct timespec) { .tv_sec = speed() };
        return 0;
    }
    if (clock == CLOCK_OF_REAL_TIME)
        return real_clock(CLOCK_REALTIME, now);
    const struct dilation *dilation = settle();
    if (clock >= CLOCK_OF_BASES && clock < CLOCK_OF_BASES + BASES) {
        int64_t from = dilation->base[clock - CLOCK_OF_BASES];
        *now = (struct timespec) { .tv_sec = from / SECOND, .tv_nsec = from % SECOND };
        return 0;
    }
    int result = real_clock(clock, now), base = base_of(clock);
    int is_own = base >= 0 && base < OWN_CLOCKS && own_clock;
    if (result != 0 || base < 0 || (dilation->speed == 1 && dilation->ahead[base] == 0 && !is_own))
        return result;
    int64_t time = dilated(base, now);
    if (is_own)
        time = skewed(base, time);
    *now = (struct timespec) { .tv_sec = time / SECOND, .tv_nsec = time % SECOND };
    return 0;
}

/* Sets the speed. Waits that have begun end when they would have ended before. */
static int set_speed(int64_t next_speed)
{
    static const clockid_t clocks[BASES]
        = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_TAI };
    const struct dilation *before = settle();
    struct dilation *next = &dilations[before == &dilations[0]];
    for (int base = 0; base < BASES; base++) {
        struct timespec now;
        if (real_clock(clocks[base], &now) != 0)
            return -1;
        int64_t moment = now.tv_sec * SECOND + now.tv_nsec;
        int64_t ahead = before->ahead[base] + (moment - before->base[base]) * (before->speed - 1);
        next->base[base] = moment;
        next->ahead[base] = base == REALTIME || base == TAI ? 0 : ahead;
    }
    next->speed = next_speed;
    __atomic_store_n(&in_force, next, __ATOMIC_RELEASE);
    return 0;
}

EXPORT int clock_settime(clockid_t clock, const struct timespec *time)
{
    if (clock != CLOCK_OF_SPEED)
        return REAL(clock_settime)(clock, time);
    if (!time || time->tv_sec < 1) {
        errno = EINVAL;
        return -1;
    }
    return set_speed(time->tv_sec);
}

EXPORT int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    if (zone)
        memset(zone, 0, sizeof(struct timezone));
    if (now) {
        struct timespec time;
        if (clock_gettime(CLOCK_REALTIME, &time) != 0)
            return -1;
        *now = (struct timeval) { .tv_sec = time.tv_sec, .tv_usec = time.tv_nsec / 1000 };
    }
    return 0;
}

EXPORT time_t time(time_t *store)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    if (store)
        *store = now.tv_sec;
    return now.tv_sec;
}

EXPORT int timespec_get(struct timespec *now, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

/* Waiting for descriptors. */

EXPORT int epoll_pwait2(int epoll, struct epoll_event *events, int most, const struct timespec *timeout,
                        const sigset_t *mask)
{
    take_rule();
    struct timespec less;
    if (timeout && is_valid(timeout)) {
        less = shorter(*timeout);
        timeout = &less;
    }
    return (int)settled(raw(SYS_epoll_pwait2, epoll, (long)events, most, (long)timeout, (long)mask, _NSIG / 8));
}

EXPORT int epoll_pwait(int epoll, struct epoll_event *events, int most, int timeout, const sigset_t *mask)
{
    take_rule();
    if (timeout <= 0 || speed() == 1)
        return REAL(epoll_pwait)(epoll, events, most, timeout, mask);
    struct timespec exact = milliseconds(timeout);
    int before = errno;
    int result = epoll_pwait2(epoll, events, most, &exact, mask);
    /* Linux before 5.11, and filters of system calls that are older. */
    if (result >= 0 || (errno != ENOSYS && errno != EPERM))
        return result;
    errno = before;
    return REAL(epoll_pwait)(epoll, events, most, (int)((timeout + speed() - 1) / speed()), mask);
}

EXPORT int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
    return epoll_pwait(epoll, events, most, timeout, NULL);
}

EXPORT int ppoll(struct pollfd *files, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
    struct timespec less;
    if (timeout && is_valid(timeout)) {
        less = shorter(*timeout);
        timeout = &less;
    }
    return REAL(ppoll)(files, count, timeout, mask);
}

EXPORT int poll(struct pollfd *files, nfds_t count, int timeout)
{
    struct timespec exact = milliseconds(timeout);
    return ppoll(files, count, timeout < 0 ? NULL : &exact, NULL);
}

static int is_valid_timeval(const struct timeval *time)
{
    return time->tv_sec >= 0 && time->tv_usec >= 0 && time->tv_usec < 1000000;
}

static struct timeval shorter_timeval(struct timeval span)
{
    struct timespec less = shorter((struct timespec) { .tv_sec = span.tv_sec, .tv_nsec = span.tv_usec * 1000 });
    int64_t microseconds = (less.tv_nsec + 999) / 1000;
    return (struct timeval) { .tv_sec = less.tv_sec + microseconds / 1000000, .tv_usec = microseconds % 1000000 };
}

static struct timeval longer_timeval(struct timeval span)
{
    struct timespec more = longer((struct timespec) { .tv_sec = span.tv_sec, .tv_nsec = span.tv_usec * 1000 });
    return (struct timeval) { .tv_sec = more.tv_sec, .tv_usec = more.tv_nsec / 1000 };
}

/* What a program calls that was compiled with _FORTIFY_SOURCE and does not know the size of the list. */
EXPORT int __poll_chk(struct pollfd *files, nfds_t count, int timeout, size_t size)
{
    if (size / sizeof *files < count)
        abort();
    return poll(files, count, timeout);
}

EXPORT int __ppoll_chk(struct pollfd *files, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
                       size_t size)
{
    if (size / sizeof *files < count)
        abort();
    return ppoll(files, count, timeout, mask);
}

EXPORT int select(int most, fd_set *restrict reading, fd_set *restrict writing, fd_set *restrict failing,
                  struct timeval *restrict timeout)
{
    if (!timeout || !is_valid_timeval(timeout))
        return REAL(select)(most, reading, writing, failing, timeout);
    struct timeval less = shorter_timeval(*timeout);
    int result = REAL(select)(most, reading, writing, failing, &less);
    /* Linux leaves what is left of it. */
    *timeout = longer_timeval(less);
    return result;
}

EXPORT int pselect(int most, fd_set *restrict reading, fd_set *restrict writing, fd_set *restrict failing,
                   const struct timespec *restrict timeout, const sigset_t *restrict mask)
{
    struct timespec less;
    if (timeout && is_valid(timeout)) {
        less = shorter(*timeout);
        timeout = &less;
    }
    return REAL(pselect)(most, reading, writing, failing, timeout, mask);
}

/* Sleeping. */

EXPORT int nanosleep(const struct timespec *span, struct timespec *left)
{
    if (!span || !is_valid(span))
        return REAL(nanosleep)(span, left);
    struct timespec less = shorter(*span);
    int result = REAL(nanosleep)(&less, left);
    if (result != 0 && errno == EINTR && left)
        *left = longer(*left);
    return result;
}

EXPORT int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
    int base = base_of(clock);
    if (!time || !is_valid(time) || base < 0)
        return REAL(clock_nanosleep)(clock, flags, time, left);
    int is_moment = flags & TIMER_ABSTIME;
    struct timespec scaled = is_moment ? sooner(base, *time) : shorter(*time);
    int result = REAL(clock_nanosleep)(clock, flags, &scaled, left);
    if (result == EINTR && left && !is_moment)
        *left = longer(*left);
    return result;
}

EXPORT int usleep(useconds_t microseconds)
{
    struct timespec span = { .tv_sec = microseconds / 1000000, .tv_nsec = microseconds % 1000000 * 1000L };
    return nanosleep(&span, NULL);
}

EXPORT unsigned int sleep(unsigned int seconds)
{
    struct timespec span = { .tv_sec = seconds }, left = { 0 };
    if (nanosleep(&span, &left) == 0)
        return 0;
    return (unsigned int)(left.tv_sec + (left.tv_nsec > 0));
}

EXPORT int sigtimedwait(const sigset_t *restrict signals, siginfo_t *restrict info,
                        const struct timespec *restrict timeout)
{
    struct timespec less;
    if (timeout && is_valid(timeout)) {
        less = shorter(*timeout);
        timeout = &less;
    }
    return REAL(sigtimedwait)(signals, info, timeout);
}

/* Waiting for other threads. */

EXPORT int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                                  const struct timespec *restrict until)
{
    if (!is_valid(until))
        return REAL(pthread_cond_timedwait)(condition, mutex, until);
    struct timespec moment = sooner(clock_of(until), *until);
    return REAL(pthread_cond_timedwait)(condition, mutex, &moment);
}

EXPORT int pthread_cond_clockwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, clockid_t clock,
                                  const struct timespec *restrict until)
{
    int base = base_of(clock);
    if (!is_valid(until) || base < 0)
        return REAL(pthread_cond_clockwait)(condition, mutex, clock, until);
    struct timespec moment = sooner(base, *until);
    return REAL(pthread_cond_clockwait)(condition, mutex, clock, &moment);
}

EXPORT int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until)
{
    struct timespec moment = is_valid(until) ? sooner(REALTIME, *until) : *until;
    return REAL(pthread_mutex_timedlock)(mutex, &moment);
}

EXPORT int pthread_mutex_clocklock(pthread_mutex_t *restrict mutex, clockid_t clock,
                                   const struct timespec *restrict until)
{
    int base = base_of(clock);
    struct timespec moment = is_valid(until) && base >= 0 ? sooner(base, *until) : *until;
    return REAL(pthread_mutex_clocklock)(mutex, clock, &moment);
}

EXPORT int pthread_rwlock_timedrdlock(pthread_rwlock_t *restrict lock, const struct timespec *restrict until)
{
    struct timespec moment = is_valid(until) ? sooner(REALTIME, *until) : *until;
    return REAL(pthread_rwlock_timedrdlock)(lock, &moment);
}

EXPORT int pthread_rwlock_timedwrlock(pthread_rwlock_t *restrict lock, const struct timespec *restrict until)
{
    struct timespec moment = is_valid(until) ? sooner(REALTIME, *until) : *until;
    return REAL(pthread_rwlock_timedwrlock)(lock, &moment);
}

EXPORT int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until)
{
    struct timespec moment = is_valid(until) ? sooner(REALTIME, *until) : *until;
    return REAL(sem_timedwait)(semaphore, &moment);
}

EXPORT int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict until)
{
    int base = base_of(clock);
    struct timespec moment = is_valid(until) && base >= 0 ? sooner(base, *until) : *until;
    return REAL(sem_clockwait)(semaphore, clock, &moment);
}

/* Rust waits for threads by the system call. A timeout is the fourth argument of FUTEX_WAIT and its kin only. */
static long futex(long word, long operation, long value, long time, long word2, long value3)
{
    const struct timespec *timeout = (const struct timespec *)time;
    struct timespec scaled;
    switch (operation & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
        if (timeout && is_valid(timeout)) {
            scaled = shorter(*timeout);
            time = (long)&scaled;
        }
        break;
    case FUTEX_LOCK_PI:
        if (timeout && is_valid(timeout)) {
            scaled = sooner(REALTIME, *timeout);
            time = (long)&scaled;
        }
        break;
    case FUTEX_WAIT_BITSET:
    case FUTEX_WAIT_REQUEUE_PI:
    case 13: /* FUTEX_LOCK_PI2 */
        if (timeout && is_valid(timeout)) {
            scaled = sooner(operation & FUTEX_CLOCK_REALTIME ? REALTIME : MONOTONIC, *timeout);
            time = (long)&scaled;
        }
        break;
    default:
        break;
    }
    return settled(raw(SYS_futex, word, operation, value, time, word2, value3));
}

EXPORT long syscall(long number, ...)
{
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
    long d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    switch (number) {
    case SYS_futex:
        return futex(a, b, c, d, e, f);
    case SYS_clock_gettime:
        return clock_gettime((clockid_t)a, (struct timespec *)b);
    default:
        return settled(raw(number, a, b, c, d, e, f));
    }
}

/* Timers and timeouts of sockets. */
#include "timers.h"
