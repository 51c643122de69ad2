/* Reads clocks, and waits until moments of them. With "clocks", prints the seconds by which the wall clock, its kin and
 * those of a child are ahead of the real one, and those by which the monotonic clock is ahead of itself as the kernel tells
 * it. With "waits", waits in every way until a moment of the wall clock in 0.3 s of it, and prints for each the seconds that
 * passed by it and the real ones; with "monotonic-waits", of the monotonic clock. With "torn", reads the wall clock until
 * its standard input ends, and prints how many readings were neither right nor an hour ahead, and how many were of each. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CLOCK_OF_REAL_TIME 21329

/* The clock that is waited for. */
static clockid_t awaited = CLOCK_REALTIME;

/* Others' constructors run before the library is ready. */
static double before_main;

static double seconds(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0)
        return -1;
    return now.tv_sec + now.tv_nsec / 1e9;
}

static double real(void) { return seconds(CLOCK_OF_REAL_TIME); }

/* The system call itself, around the library. */
static double of_kernel(clockid_t clock)
{
    struct timespec now;
    long result;
#if defined(__x86_64__)
    __asm__ volatile("syscall" : "=a"(result) : "a"((long)SYS_clock_gettime), "D"((long)clock), "S"(&now)
                     : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = SYS_clock_gettime;
    register long x0 __asm__("x0") = clock;
    register long x1 __asm__("x1") = (long)&now;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
    result = x0;
#endif
    return result == 0 ? now.tv_sec + now.tv_nsec / 1e9 : -1;
}

__attribute__((constructor)) static void early(void) { before_main = seconds(CLOCK_REALTIME) - of_kernel(CLOCK_REALTIME); }

static void print_clocks(void)
{
    struct timeval day;
    gettimeofday(&day, NULL);
    printf("early %.6f\n", before_main);
    printf("realtime %.6f\n", seconds(CLOCK_REALTIME) - real());
    printf("coarse %.6f\n", seconds(CLOCK_REALTIME_COARSE) - real());
    printf("gettimeofday %.6f\n", day.tv_sec + day.tv_usec / 1e6 - real());
    printf("time %.6f\n", time(NULL) - real());
    printf("monotonic %.6f\n", seconds(CLOCK_MONOTONIC) - of_kernel(CLOCK_MONOTONIC));
    fflush(stdout);
    if (fork() == 0) {
        printf("child %.6f\n", seconds(CLOCK_REALTIME) - real());
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

static struct timespec soon(void)
{
    struct timespec moment;
    clock_gettime(awaited, &moment);
    moment.tv_nsec += 300000000;
    moment.tv_sec += moment.tv_nsec / 1000000000;
    moment.tv_nsec %= 1000000000;
    return moment;
}

static void by_clock_nanosleep(void)
{
    struct timespec moment = soon();
    clock_nanosleep(awaited, TIMER_ABSTIME, &moment, NULL);
}

static void by_condition(void)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, awaited);
    pthread_cond_init(&condition, &attributes);
    struct timespec moment = soon();
    pthread_mutex_lock(&mutex);
    while (pthread_cond_timedwait(&condition, &mutex, &moment) == 0)
        ;
}

static void by_semaphore(void)
{
    sem_t semaphore;
    struct timespec moment = soon();
    sem_init(&semaphore, 0, 0);
    if (awaited == CLOCK_REALTIME)
        sem_timedwait(&semaphore, &moment);
    else
        sem_clockwait(&semaphore, awaited, &moment);
}

static void by_timer(void)
{
    int file = timerfd_create(awaited, 0);
    struct itimerspec timer = { .it_value = soon() };
    uint64_t count;
    timerfd_settime(file, TFD_TIMER_ABSTIME, &timer, NULL);
    if (read(file, &count, sizeof count) < 0)
        puts("no timer");
}

static void by_futex(void)
{
    int word = 0;
    struct timespec moment = soon();
    syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | (awaited == CLOCK_REALTIME ? FUTEX_CLOCK_REALTIME : 0), 0, &moment, NULL, FUTEX_BITSET_MATCH_ANY);
}

/* Is not until a moment, so it takes as long as always. */
static void by_poll(void) { poll(NULL, 0, 300); }

static void print_waits(void)
{
    const struct { const char *name; void (*wait)(void); } ways[] = {
        { "clock_nanosleep", by_clock_nanosleep }, { "condition", by_condition }, { "semaphore", by_semaphore },
        { "timer", by_timer }, { "futex", by_futex }, { "poll", by_poll },
    };
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        double shown = seconds(awaited), began = real();
        ways[way].wait();
        printf("%s %.6f %.6f\n", ways[way].name, seconds(awaited) - shown, real() - began);
    }
}

static void print_torn(void)
{
    struct pollfd input = { .fd = 0, .events = POLLIN };
    long torn = 0, right = 0, ahead = 0;
    puts("reads");
    fflush(stdout);
    while (poll(&input, 1, 0) == 0)
        for (int reading = 0; reading < 10000; reading++) {
            double off = seconds(CLOCK_REALTIME) - of_kernel(CLOCK_REALTIME);
            if (off > -1 && off < 1)
                right++;
            else if (off > 3599 && off < 3601)
                ahead++;
            else
                torn++;
        }
    printf("torn %ld %ld %ld\n", torn, right, ahead);
}

int main(int count, char **words)
{
    if (count == 2 && strcmp(words[1], "clocks") == 0)
        print_clocks();
    else if (count == 2 && strcmp(words[1], "waits") == 0)
        print_waits();
    else if (count == 2 && strcmp(words[1], "monotonic-waits") == 0) {
        awaited = CLOCK_MONOTONIC;
        print_waits();
    } else if (count == 2 && strcmp(words[1], "torn") == 0)
        print_torn();
    else
        return 2;
    return 0;
}
