# A histogram of times with an error of at most 1.6 %. A time falls into one of 32 equal parts of
# its power of two. A part is at most 1/32 of what it begins with, and its middle is what is said of
# it, so that no time is told wrong by more than 1/64, 1.6 %. Below 2 us, parts are 64 ns. A power
# of two takes memory when a time falls in.
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

from fastlb._core.base.limits cimport HISTOGRAM_OCTAVES, HISTOGRAM_STEPS
from fastlb._core.base.observations cimport Histogram
from fastlb._core.ext.atomic cimport fl_count, fl_load_pointer, fl_read, fl_store_pointer, unlikely

cdef extern from * nogil:
    int __builtin_clzll(unsigned long long)

cdef enum:
    UNIT_BITS = 6               # 64 ns
    STEP_BITS = 5               # of HISTOGRAM_STEPS
    PLACES = HISTOGRAM_OCTAVES * HISTOGRAM_STEPS


cdef inline int _place(uint64_t ns) noexcept nogil:
    cdef uint64_t units = ns >> UNIT_BITS
    cdef int octave
    if units < HISTOGRAM_STEPS:
        return <int> units
    octave = 63 - __builtin_clzll(units)
    if octave >= HISTOGRAM_OCTAVES + STEP_BITS - 1:
        return PLACES - 1
    return (octave - STEP_BITS) * HISTOGRAM_STEPS + <int> (units >> (octave - STEP_BITS))


cdef inline uint64_t _begin_ns(int place) noexcept nogil:
    cdef int octave = place >> STEP_BITS
    if octave == 0:
        return <uint64_t> place << UNIT_BITS
    return <uint64_t> ((place & (HISTOGRAM_STEPS - 1)) + HISTOGRAM_STEPS) << (
        octave - 1 + UNIT_BITS)


cdef void histogram_add(Histogram* histogram, uint64_t ns) noexcept nogil:
    cdef int place = _place(ns)
    cdef uint64_t* octave = histogram.octaves[place >> STEP_BITS]
    if unlikely(octave == NULL):
        octave = <uint64_t*> calloc(HISTOGRAM_STEPS, sizeof(uint64_t))
        if octave == NULL:              # it counts, and nobody knows for how long it took
            fl_count(&histogram.count, 1)
            return
        fl_store_pointer(<void**> &histogram.octaves[place >> STEP_BITS], octave)
    fl_count(&octave[place & (HISTOGRAM_STEPS - 1)], 1)
    fl_count(&histogram.sum_ns, ns)
    fl_count(&histogram.count, 1)


cdef void histogram_free(Histogram* histogram) noexcept nogil:
    cdef int i
    for i in range(HISTOGRAM_OCTAVES):
        free(histogram.octaves[i])
        histogram.octaves[i] = NULL


cdef void histograms_free(Histogram* block, int n) noexcept nogil:
    """A block of them, and the block itself; NULL is fine."""
    cdef int i
    if block != NULL:
        for i in range(n):
            histogram_free(&block[i])
    free(block)


cdef class Times:
    """The times of one kind, of all engines together, as they were when they were read."""

    def __cinit__(self):
        self._counts = <uint64_t*> calloc(PLACES, sizeof(uint64_t))
        if self._counts == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self._counts)

    cdef void add(self, const Histogram* histogram) noexcept:
        cdef uint64_t* octave
        cdef uint64_t n
        cdef int i, k
        for i in range(HISTOGRAM_OCTAVES):
            octave = <uint64_t*> fl_load_pointer(<void**> &histogram.octaves[i])
            if octave == NULL:
                continue
            for k in range(HISTOGRAM_STEPS):
                n = fl_read(&octave[k])
                self._counts[i * HISTOGRAM_STEPS + k] += n
                self.count += n
        self._sum_ns += fl_read(&histogram.sum_ns)

    @property
    def sum(self) -> float:
        """Seconds, of all of them."""
        return self._sum_ns / 1e9

    def quantiles(self, *shares: float) -> list[float]:
        """Seconds, such that so large a share took no longer; [] if there are no times. Shares
        are from 0 to 1, the smaller first. Off by 1.6 % at most."""
        cdef uint64_t wanted, seen = 0
        cdef int place = 0
        found = []
        if self.count == 0:
            return found
        for share in shares:
            wanted = <uint64_t> (<double> share * self.count + 0.999999)
            if wanted == 0:
                wanted = 1
            elif wanted > self.count:
                wanted = self.count
            while seen < wanted:
                seen += self._counts[place]
                place += 1
            found.append((_begin_ns(place - 1) + _begin_ns(place)) / 2e9)
        return found

    def upto(self, *powers: int) -> list[int]:
        """How many took less than 2^power times 64 ns, for each power, the smaller first. These
        are exact."""
        cdef int place = 0, end
        cdef uint64_t seen = 0
        counts = []
        for power in powers:
            end = _place(<uint64_t> 1 << (<int> power + UNIT_BITS))
            while place < end:
                seen += self._counts[place]
                place += 1
            counts.append(seen)
        return counts

    def put(self, double seconds) -> None:
        """Add a time by hand: what tests compare with."""
        self._counts[_place(<uint64_t> (seconds * 1e9))] += 1
        self._sum_ns += <uint64_t> (seconds * 1e9)
        self.count += 1
