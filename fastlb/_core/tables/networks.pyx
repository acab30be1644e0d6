# Sets of networks, made of text: a file or a list of a configuration. Once made they don't change.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memchr, memset

from fastlb._core.base.head cimport Text
from fastlb._core.base.networks cimport network_value
from fastlb._core.base.parts cimport Address
from fastlb._core.base.ranges cimport NetworkCounters, Ranges, ranges_free, ranges_index
from fastlb._core.base.text cimport text_of, trimmed
from fastlb._core.ext.atomic cimport fl_store_pointer
from fastlb._core.proto.addresses cimport parse_address
from fastlb._core.proto.networks cimport Span, parse_span
from fastlb._core.tables.states cimport per_engine, sums

cdef enum:
    WRONG_LINES_MAX = 20        # that are named
    FULL = 1                    # what went wrong while a list was read
    NO_MEMORY = 2


cdef int _compare(const void* a, const void* b) noexcept nogil:
    cdef const Span* left = <const Span*> a
    cdef const Span* right = <const Span*> b
    if left.family != right.family:
        return -1 if left.family < right.family else 1
    if left.first[0] != right.first[0]:
        return -1 if left.first[0] < right.first[0] else 1
    if left.first[1] != right.first[1]:
        return -1 if left.first[1] < right.first[1] else 1
    return 0


cdef bint _add(Spans* spans, const Span* span) noexcept nogil:
    cdef uint32_t room
    cdef void* made
    if spans.n == spans.room:
        room = spans.room * 2 if spans.room else 64
        made = realloc(spans.all, room * sizeof(Span))
        if made == NULL:
            return False
        spans.all, spans.room = <Span*> made, room
    spans.all[spans.n] = span[0]
    spans.n += 1
    return True


cdef Text _line(const uint8_t** at, const uint8_t* end) noexcept nogil:
    """The next line without its comment, and without space around it."""
    cdef const uint8_t* begin = at[0]
    cdef const uint8_t* stop = <const uint8_t*> memchr(begin, c'\n', end - begin)
    cdef Text line
    cdef uint32_t i
    if stop == NULL:
        stop = end
    at[0] = stop + 1 if stop < end else end
    line = text_of(begin, <uint32_t> (stop - begin))
    for i in range(line.size):
        if line.at[i] == c'#' or line.at[i] == c';':
            line.size = i
            break
    if line.size and line.at[line.size - 1] == c'\r':
        line.size -= 1
    return trimmed(line.at, line.size)


cdef inline bint _next(uint64_t* number, bint is_v4) noexcept nogil:
    """The address behind it; False if there is none."""
    if is_v4:
        number[0] += <uint64_t> 1 << 32
        return number[0] != 0
    number[1] += 1
    if number[1] == 0:
        number[0] += 1
        return number[0] != 0
    return True


cdef inline bint _is_above(const uint64_t* a, const uint64_t* b) noexcept nogil:
    return a[0] > b[0] or (a[0] == b[0] and a[1] > b[1])


cdef bint _merge(Ranges* ranges, const Span* spans, uint32_t n, bint is_v4) noexcept nogil:
    """The boundaries of sorted spans, whose overlaps are one range; False without memory."""
    cdef uint64_t[2] end
    cdef uint32_t i
    cdef bint open = False, has_low = False, is_last = False
    end[0] = end[1] = 0
    if n == 0:
        return True
    ranges.high = <uint64_t*> malloc(2 * <size_t> n * sizeof(uint64_t))
    ranges.low = <uint64_t*> malloc(2 * <size_t> n * sizeof(uint64_t))
    if ranges.high == NULL or ranges.low == NULL:
        return False
    for i in range(n):
        if open and is_last:            # (one reaches to the last address of all)
            break
        if open and not _is_above(spans[i].first, end):
            if not _is_above(end, spans[i].last):
                end[0], end[1] = spans[i].last[0], spans[i].last[1]
                is_last = not _next(end, is_v4)
            continue
        if open:
            _put(ranges, end, &has_low)
        _put(ranges, spans[i].first, &has_low)
        end[0], end[1] = spans[i].last[0], spans[i].last[1]
        is_last = not _next(end, is_v4)
        open = True
    if not is_last:
        _put(ranges, end, &has_low)
    if not has_low:
        free(ranges.low)
        ranges.low = NULL
    return ranges_index(ranges)


cdef void _put(Ranges* ranges, const uint64_t* number, bint* has_low) noexcept nogil:
    ranges.high[ranges.n], ranges.low[ranges.n] = number[0], number[1]
    ranges.n += 1
    if number[1]:
        has_low[0] = True


cdef bint _is_whole(const Ranges* ranges) noexcept nogil:
    """Whether one range has all addresses: it begins at the first, and never ends."""
    return ranges.n == 1 and ranges.high[0] == 0 and (ranges.low == NULL or ranges.low[0] == 0)


cdef class NetworkSet:
    """The networks and ranges of a text, one a line; "#" and ";" begin a comment. ValueError: there
    are more than `most`."""

    def __cinit__(self, bytes data, uint32_t most):
        cdef const uint8_t* at = <const uint8_t*> <const char*> data
        cdef const uint8_t* end = at + len(data)
        cdef Spans spans
        cdef uint32_t[WRONG_LINES_MAX] wrong
        cdef uint32_t i, n_wrong = 0
        cdef int failure
        if data.startswith(b"\xef\xbb\xbf"):
            at += 3
        memset(&spans, 0, sizeof(spans))
        with nogil:
            failure = _read(&spans, at, end, most, wrong, &n_wrong)
            if failure == 0 and not self._fill(&spans):
                failure = NO_MEMORY
            free(spans.all)
        if failure == NO_MEMORY:
            raise MemoryError
        if failure == FULL:
            raise ValueError(f"it has more than {most:,} networks")
        self.entries, self.wrong = spans.n, n_wrong
        self.wrong_lines = [wrong[i] for i in range(min(n_wrong, <uint32_t> WRONG_LINES_MAX))]

    cdef bint _fill(self, Spans* spans) noexcept nogil:
        cdef uint32_t n = 0
        if spans.n == 0:                # (an empty list lies at NULL, which qsort must not see)
            return True
        qsort(spans.all, spans.n, sizeof(Span), _compare)
        while n < spans.n and spans.all[n].family == 4:
            n += 1
        return _merge(&self.table.v4, spans.all, n, True) \
            and _merge(&self.table.v6, spans.all + n, spans.n - n, False)

    def __dealloc__(self):
        ranges_free(&self.table.v4)
        ranges_free(&self.table.v6)

    def __contains__(self, str address) -> bool:
        """Whether an address, with or without a port, is in one of the networks."""
        cdef Address found
        cdef bytes text = address.encode()
        return parse_address(text_of(<const uint8_t*> <const char*> text, <uint32_t> len(text)),
                             &found) and network_value(&self.table, &found) != 0

    @property
    def covers(self) -> tuple[str, ...]:
        """The families of which every address is in it: IPv4, IPv6."""
        return tuple([name for name, whole in (("IPv4", _is_whole(&self.table.v4)),
                                               ("IPv6", _is_whole(&self.table.v6))) if whole])

    @property
    def ranges(self) -> int:
        """How many are left of the entries where those that overlap or touch are one."""
        return (self.table.v4.n + 1) // 2 + (self.table.v6.n + 1) // 2


cdef int _read(Spans* spans, const uint8_t* at, const uint8_t* end, uint32_t most,
               uint32_t* wrong, uint32_t* n_wrong) noexcept nogil:
    cdef uint32_t number = 0
    cdef Text line
    cdef Span span
    while at < end:
        number += 1
        line = _line(&at, end)
        if line.size == 0:
            continue
        memset(&span, 0, sizeof(span))
        if not parse_span(line, &span):
            if n_wrong[0] < <uint32_t> WRONG_LINES_MAX:
                wrong[n_wrong[0]] = number
            n_wrong[0] += 1
            continue
        if spans.n == most:
            return FULL
        if not _add(spans, &span):
            return NO_MEMORY
    return 0


cdef class Network:
    """A set of networks by its name, shared by all engines: those of its source, and those that
    were added by hand. Without `engines` nothing is counted."""

    def __cinit__(self, str name, int engines=0):
        self.name = name
        self._engines = engines
        if engines:
            self.live.counters = <NetworkCounters*> per_engine(engines, sizeof(NetworkCounters))

    def __dealloc__(self):
        free(self.live.counters)

    def use(self, NetworkSet made) -> NetworkSet | None:
        """Replace those of its source. Returns what they were before, which the caller has to keep
        until every engine has begun another turn."""
        replaced, self.set = self.set, made
        fl_store_pointer(<void**> &self.live.table, &made.table if made is not None else NULL)
        return replaced

    def use_added(self, NetworkSet made) -> NetworkSet | None:
        """Replace those that were added by hand; otherwise as `use`."""
        replaced, self.added = self.added, made
        fl_store_pointer(<void**> &self.live.added, &made.table if made is not None else NULL)
        return replaced

    def __contains__(self, str address) -> bool:
        """Whether an address, with or without a port, is in it."""
        return any(one is not None and address in one for one in (self.set, self.added))

    def totals(self) -> dict[str, int]:
        """Clients that were denied because of it, and that would have been."""
        return sums(self.live.counters, sizeof(NetworkCounters), self._engines,
                    ("denied", "reported"))

    def stats(self) -> dict[str, int]:
        """Return its `entries` from its source, those `added` by hand, and its totals."""
        return {"entries": self.set.entries if self.set is not None else 0,
                "added": self.added.entries if self.added is not None else 0, **self.totals()}
