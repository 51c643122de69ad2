/* The part of dilate.c about timers and the timeouts of sockets; included at its end. */

/* Timers. */

/* The base of each timer by its descriptor, plus 1. */
static unsigned char timers[1024];

EXPORT int timerfd_create(clockid_t clock, int flags)
{
    int file = REAL(timerfd_create)(clock, flags);
    if (file >= 0 && (size_t)file < sizeof timers)
        timers[file] = (unsigned char)(base_of(clock) + 1);
    return file;
}

static struct itimerspec longer_timer(struct itimerspec timer)
{
    return (struct itimerspec) { .it_interval = longer(timer.it_interval), .it_value = longer(timer.it_value) };
}

EXPORT int timerfd_settime(int file, int flags, const struct itimerspec *new, struct itimerspec *old)
{
    if (!new || !is_valid(&new->it_value) || !is_valid(&new->it_interval))
        return REAL(timerfd_settime)(file, flags, new, old);
    struct itimerspec scaled = { .it_interval = shorter(new->it_interval), .it_value = new->it_value };
    int is_off = new->it_value.tv_sec == 0 && new->it_value.tv_nsec == 0;
    if (!is_off && flags & TFD_TIMER_ABSTIME) {
        int known = file >= 0 && (size_t)file < sizeof timers ? timers[file] - 1 : -1;
        scaled.it_value = sooner(known >= 0 ? known : clock_of(&new->it_value), new->it_value);
    } else {
        scaled.it_value = shorter(new->it_value);
    }
    int result = REAL(timerfd_settime)(file, flags, &scaled, old);
    if (result == 0 && old)
        *old = longer_timer(*old);
    return result;
}

EXPORT int timerfd_gettime(int file, struct itimerspec *now)
{
    int result = REAL(timerfd_gettime)(file, now);
    if (result == 0)
        *now = longer_timer(*now);
    return result;
}

/* The type of the first argument of setitimer is an enum in glibc's C, and an int elsewhere. */
EXPORT int setitimer(__itimer_which_t which, const struct itimerval *restrict new, struct itimerval *restrict old)
{
    if (which != ITIMER_REAL || !new || !is_valid_timeval(&new->it_value) || !is_valid_timeval(&new->it_interval))
        return REAL(setitimer)(which, new, old);
    struct itimerval scaled = {
        .it_interval = shorter_timeval(new->it_interval),
        .it_value = shorter_timeval(new->it_value),
    };
    int result = REAL(setitimer)(which, &scaled, old);
    if (result == 0 && old) {
        old->it_interval = longer_timeval(old->it_interval);
        old->it_value = longer_timeval(old->it_value);
    }
    return result;
}

EXPORT int getitimer(__itimer_which_t which, struct itimerval *now)
{
    int result = REAL(getitimer)(which, now);
    if (result == 0 && which == ITIMER_REAL) {
        now->it_interval = longer_timeval(now->it_interval);
        now->it_value = longer_timeval(now->it_value);
    }
    return result;
}

EXPORT unsigned int alarm(unsigned int seconds)
{
    struct itimerval new = { .it_value = { .tv_sec = seconds } }, old = { 0 };
    if (setitimer(ITIMER_REAL, &new, &old) != 0)
        return 0;
    return (unsigned int)(old.it_value.tv_sec + (old.it_value.tv_usec > 0));
}

/* Timeouts of sockets. */

static int is_timeout(int level, int option)
{
    return level == SOL_SOCKET && (option == SO_RCVTIMEO || option == SO_SNDTIMEO);
}

EXPORT int setsockopt(int file, int level, int option, const void *value, socklen_t length)
{
    struct timeval less;
    unsigned int patience;
    if (level == IPPROTO_TCP && option == TCP_USER_TIMEOUT && value && length == sizeof patience) {
        memcpy(&patience, value, sizeof patience);
        patience = (unsigned int)((patience + speed() - 1) / speed());
        value = &patience;
    }
    if (is_timeout(level, option) && value && length == sizeof less) {
        memcpy(&less, value, sizeof less);
        if (is_valid_timeval(&less)) {
            less = shorter_timeval(less);
            value = &less;
        }
    }
    return REAL(setsockopt)(file, level, option, value, length);
}

EXPORT int getsockopt(int file, int level, int option, void *restrict value, socklen_t *restrict length)
{
    int result = REAL(getsockopt)(file, level, option, value, length);
    struct timeval more;
    unsigned int patience;
    if (result == 0 && level == IPPROTO_TCP && option == TCP_USER_TIMEOUT && *length == sizeof patience) {
        memcpy(&patience, value, sizeof patience);
        patience *= (unsigned int)speed();
        memcpy(value, &patience, sizeof patience);
    }
    if (result == 0 && is_timeout(level, option) && *length == sizeof more) {
        memcpy(&more, value, sizeof more);
        more = longer_timeval(more);
        memcpy(value, &more, sizeof more);
    }
    return result;
}
