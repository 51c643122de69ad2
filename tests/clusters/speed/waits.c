/* Waits in every way that a server may, for 20 s of its time each, all at once. Prints for each: its name, the seconds
 * that passed by the monotonic clock and by the wall clock, and the real ones. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECONDS 20
#define CLOCK_OF_REAL_TIME 21329

static double seconds(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0)
        return -1;
    return now.tv_sec + now.tv_nsec / 1e9;
}

static struct timespec in_time(clockid_t clock)
{
    struct timespec moment;
    clock_gettime(clock, &moment);
    moment.tv_sec += SECONDS;
    return moment;
}

static const struct timespec SPAN = { .tv_sec = SECONDS };
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static volatile sig_atomic_t rung;

static void by_sleep(void) { sleep(SECONDS); }
static void by_usleep(void) { usleep(SECONDS * 1000000); }
static void by_nanosleep(void) { nanosleep(&SPAN, NULL); }
static void by_clock_nanosleep(void) { clock_nanosleep(CLOCK_REALTIME, 0, &SPAN, NULL); }

static void by_clock_nanosleep_until(void)
{
    struct timespec moment = in_time(CLOCK_MONOTONIC);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL);
}

static void by_epoll_wait(void)
{
    struct epoll_event event;
    epoll_wait(epoll_create1(0), &event, 1, SECONDS * 1000);
}

static void by_epoll_pwait2(void)
{
    struct epoll_event event;
    epoll_pwait2(epoll_create1(0), &event, 1, &SPAN, NULL);
}

static void by_poll(void) { poll(NULL, 0, SECONDS * 1000); }
static void by_ppoll(void) { ppoll(NULL, 0, &SPAN, NULL); }

static void by_select(void)
{
    struct timeval span = { .tv_sec = SECONDS };
    select(0, NULL, NULL, NULL, &span);
}

static void by_pselect(void) { pselect(0, NULL, NULL, NULL, &SPAN, NULL); }

static void by_condition_of(clockid_t clock)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_condattr_t attributes;
    pthread_cond_t condition;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, clock);
    pthread_cond_init(&condition, &attributes);
    pthread_mutex_lock(&mutex);
    struct timespec moment = in_time(clock);
    while (pthread_cond_timedwait(&condition, &mutex, &moment) == 0)
        ;
}

static void by_condition(void) { by_condition_of(CLOCK_REALTIME); }
static void by_monotonic_condition(void) { by_condition_of(CLOCK_MONOTONIC); }

static void by_mutex(void)
{
    struct timespec moment = in_time(CLOCK_REALTIME);
    pthread_mutex_timedlock(&held, &moment);
}

static void by_semaphore(void)
{
    sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    struct timespec moment = in_time(CLOCK_REALTIME);
    sem_timedwait(&semaphore, &moment);
}

static void by_futex(void)
{
    int word = 0;
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &SPAN, NULL, 0);
}

static void by_futex_until(void)
{
    int word = 0;
    struct timespec moment = in_time(CLOCK_MONOTONIC);
    syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, &moment, NULL, FUTEX_BITSET_MATCH_ANY);
}

static void by_timer(int flags)
{
    int file = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec timer = { .it_value = flags ? in_time(CLOCK_MONOTONIC) : SPAN };
    timerfd_settime(file, flags, &timer, NULL);
    uint64_t count;
    if (read(file, &count, sizeof count) != sizeof count)
        perror("timerfd");
}

static void by_timerfd(void) { by_timer(0); }
static void by_timerfd_until(void) { by_timer(TFD_TIMER_ABSTIME); }

static void by_socket(void)
{
    int pair[2];
    char byte;
    struct timeval span = { .tv_sec = SECONDS };
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &span, sizeof span);
    if (read(pair[0], &byte, 1) != -1 || errno != EAGAIN)
        perror("a socket");
}

static void ring(int signal)
{
    (void)signal;
    rung = 1;
}

static void by_setitimer(void)
{
    struct itimerval timer = { .it_value = { .tv_sec = SECONDS } };
    setitimer(ITIMER_REAL, &timer, NULL);
    /* It may ring at any moment, so this waits by no call that it would have to interrupt. */
    while (!rung)
        for (volatile int spin = 0; spin < 1000000; spin++)
            ;
}

static const struct {
    const char *name;
    void (*wait)(void);
} WAYS[] = {
#define WAY(name) { #name, by_##name }
    WAY(sleep), WAY(usleep), WAY(nanosleep), WAY(clock_nanosleep), WAY(clock_nanosleep_until), WAY(epoll_wait),
    WAY(epoll_pwait2), WAY(poll), WAY(ppoll), WAY(select), WAY(pselect), WAY(condition), WAY(monotonic_condition),
    WAY(mutex), WAY(semaphore), WAY(futex), WAY(futex_until), WAY(timerfd), WAY(timerfd_until), WAY(socket),
    WAY(setitimer),
};

static void *measure(void *number)
{
    size_t way = (size_t)number;
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    /* The others' calls would be interrupted. */
    pthread_sigmask(WAYS[way].wait == by_setitimer ? SIG_UNBLOCK : SIG_BLOCK, &alarms, NULL);
    double monotonic = seconds(CLOCK_MONOTONIC), real = seconds(CLOCK_OF_REAL_TIME);
    struct timeval from, to;
    gettimeofday(&from, NULL);
    WAYS[way].wait();
    gettimeofday(&to, NULL);
    monotonic = seconds(CLOCK_MONOTONIC) - monotonic;
    real = seconds(CLOCK_OF_REAL_TIME) - real;
    double wall = to.tv_sec - from.tv_sec + (to.tv_usec - from.tv_usec) / 1e6;
    printf("%s %.6f %.6f %.6f\n", WAYS[way].name, monotonic, wall, real);
    return NULL;
}

int main(void)
{
    enum { COUNT = sizeof WAYS / sizeof *WAYS };
    pthread_t threads[COUNT];
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarms, NULL);
    signal(SIGALRM, ring);
    pthread_mutex_lock(&held);
    for (size_t way = 0; way < COUNT; way++)
        pthread_create(&threads[way], NULL, measure, (void *)way);
    for (size_t way = 0; way < COUNT; way++)
        pthread_join(threads[way], NULL);
    return 0;
}
