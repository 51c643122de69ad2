/* Changes the speed of this process, and prints what its clocks show before and after it. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CLOCK_OF_SPEED 21328
#define CLOCK_OF_REAL_TIME 21329

static double now(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0)
        exit(1);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void set(long speed)
{
    struct timespec time = { .tv_sec = speed };
    if (clock_settime(CLOCK_OF_SPEED, &time) != 0)
        exit(2);
}

static void wait(double seconds)
{
    struct timespec span = { .tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };
    if (clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL) != 0)
        exit(3);
    /* The same by a moment of the clock, which the change has shifted. */
    struct timespec until;
    if (clock_gettime(CLOCK_MONOTONIC, &until) != 0)
        exit(4);
    until.tv_sec += span.tv_sec;
    if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
        exit(5);
}

/* "SPEED, then what passed by the monotonic clock, the wall clock and real time, how far the monotonic clock went back, and
 * how far the wall clock was ahead of real time when it began". */
static void live_at(long speed)
{
    double before = now(CLOCK_MONOTONIC);
    if (speed)
        set(speed);
    double monotonic = now(CLOCK_MONOTONIC), wall = now(CLOCK_REALTIME), real = now(CLOCK_OF_REAL_TIME);
    wait(3);
    double real_end = now(CLOCK_OF_REAL_TIME), wall_end = now(CLOCK_REALTIME), monotonic_end = now(CLOCK_MONOTONIC);
    printf("%ld %.6f %.6f %.6f %.6f %.6f\n", speed, monotonic_end - monotonic, wall_end - wall, real_end - real,
           before - monotonic, wall - real);
}

int main(void)
{
    live_at(0);
    live_at(2);
    live_at(1);
    live_at(50);
    return 0;
}
