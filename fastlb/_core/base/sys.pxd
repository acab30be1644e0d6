# The system's clock, wake-ups and timers, under names that don't depend on the system.
from libc.errno cimport errno
from libc.stdint cimport int64_t, uint64_t

from fastlb._core.ext.linux cimport (
    CLOCK_MONOTONIC, CLOCK_REALTIME, EFD_CLOEXEC, EFD_NONBLOCK, O_CLOEXEC, O_RDONLY, RLIMIT_NOFILE,
    TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, clock_gettime, eventfd, getrlimit, gmtime_r,
    itimerspec, open_file, poll, pollfd, read, rlimit, sched_yield, time, time_t, timerfd_create,
    timerfd_settime, timespec, tm, write,
)


cdef inline uint64_t clock_ms() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t> now.tv_sec * 1000 + <uint64_t> now.tv_nsec // 1000000


cdef inline uint64_t clock_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t> now.tv_sec * 1000000000 + <uint64_t> now.tv_nsec


cdef inline void clock_utc(tm* now) noexcept nogil:
    cdef time_t seconds = time(NULL)
    gmtime_r(&seconds, now)


cdef inline void clock_date(long seconds, tm* date) noexcept nogil:
    """The date and time of day, UTC, of a time since 1970."""
    cdef time_t when = seconds
    gmtime_r(&when, date)


cdef inline int64_t clock_offset_ns() noexcept nogil:
    """What is to be added to clock_ns() for a time since 1970."""
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <int64_t> now.tv_sec * 1000000000 + now.tv_nsec - <int64_t> clock_ns()


cdef inline bint wait_for(int fd, short events, int timeout_ms) noexcept nogil:
    """Until a descriptor is ready (POLLIN, POLLOUT, or an error); False if it isn't in time."""
    cdef pollfd one
    one.fd = fd
    one.events = events
    one.revents = 0
    return poll(&one, 1, timeout_ms) > 0


cdef inline int event_open() noexcept nogil:
    """A descriptor that is readable once it was set: it, or -errno."""
    cdef int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    return fd if fd >= 0 else -errno


cdef inline void event_set(int fd) noexcept nogil:
    cdef uint64_t one = 1
    write(fd, &one, sizeof(one))


cdef inline void event_clear(int fd) noexcept nogil:
    cdef uint64_t count
    read(fd, &count, sizeof(count))


cdef inline int timer_open() noexcept nogil:
    """A descriptor that is readable when the time set is over: it, or -errno."""
    cdef int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
    return fd if fd >= 0 else -errno


cdef inline void timer_set(int fd, uint64_t at_ms) noexcept nogil:
    """Let a timer go off at a time of clock_ms()."""
    cdef itimerspec when
    when.it_interval.tv_sec = when.it_interval.tv_nsec = 0
    when.it_value.tv_sec = at_ms // 1000
    when.it_value.tv_nsec = (at_ms % 1000) * 1000000
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL)


cdef inline int spare_open() noexcept nogil:
    """A descriptor that does nothing but take a place: it, or -errno."""
    cdef int fd = open_file("/dev/null", O_RDONLY | O_CLOEXEC)
    return fd if fd >= 0 else -errno


cdef inline bint is_low_descriptor(int fd) noexcept nogil:
    """Whether a descriptor that was opened just now is among the lower half of those that this
    process may have. It is the lowest that was free: so if not, half of them are in use."""
    cdef rlimit descriptors
    return getrlimit(RLIMIT_NOFILE, &descriptors) == 0 \
        and <unsigned long> fd < descriptors.rlim_cur // 2


cdef inline void yield_cpu() noexcept nogil:
    sched_yield()
