# What the groups of a route's regular expression captured of a path. See fastlb/config/captures:
# one walk backwards, and one forwards that never goes back.
from libc.stdint cimport int32_t, uint16_t, uint32_t
from libc.string cimport memset

from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport CAPTURES_MAX
from fastlb._core.base.mem cimport chunk_bytes, chunk_size
from fastlb._core.base.routing cimport (
    CAPTURE_BYTE, CAPTURE_DONE, CAPTURE_GO, CAPTURE_LOOP, CAPTURE_MARK, CaptureStep, Captures,
    Match,
)
from fastlb._core.base.text cimport text_of
from fastlb._core.base.types cimport Chunk

cdef enum:
    PATH_MAX = 65535            # of a longer path nothing is captured


cdef inline bint _can(const Captures* captures, uint32_t state, uint32_t step) noexcept nogil:
    """Whether the end can be reached from a step, where the rest of the path has led to a state."""
    return captures.able[state * captures.row + (step >> 3)] >> (step & 7) & 1


cdef void _walk_back(const Captures* captures, Text path, uint16_t* states) noexcept nogil:
    cdef uint32_t i = path.size, state = 0
    states[i] = 0
    while i:
        i -= 1
        state = captures.table[state * captures.n_classes + captures.classes[path.at[i]]]
        states[i] = <uint16_t> state


cdef bint _walk(const Captures* captures, uint32_t size, const uint16_t* states,
                int32_t* marks) noexcept nogil:
    """False: it goes in circles, which only patterns of nested empty repeats can."""
    cdef uint32_t at = 0, step = 0, idle = 0, n = captures.n_steps
    cdef const CaptureStep* one
    cdef bint other
    while True:                         # bounded: a byte is taken, or `idle` grows
        one = &captures.steps[step]
        if one.kind == CAPTURE_DONE:
            return True
        idle += 1
        if idle > 4 * n:
            return False
        if one.kind == CAPTURE_BYTE:
            if at == size:
                return False
            at += 1
            idle = 0
            step = one.a
        elif one.kind == CAPTURE_MARK:
            marks[one.b] = <int32_t> at
            step = one.a
        elif one.kind == CAPTURE_GO:
            step = one.a
        else:
            # A loop that goes round without a byte is left; if that leads nowhere, the second
            # ways are taken.
            other = idle > (n if one.kind == CAPTURE_LOOP else 2 * n)
            if (other and _can(captures, states[at], one.b)) \
                    or not _can(captures, states[at], one.a):
                step = one.b
            else:
                step = one.a


cdef void capture(const Captures* captures, Text path, Match* match, Chunk* scratch) noexcept nogil:
    """Fill in match.captures. Nothing reads the end of `scratch` meanwhile."""
    cdef uint16_t* states = <uint16_t*> (
        chunk_bytes(scratch) + chunk_size(scratch.klass)) - (PATH_MAX + 1)
    cdef int32_t[2 * CAPTURES_MAX + 2] marks
    cdef uint32_t i
    memset(match.captures, 0, sizeof(match.captures))
    if path.size > PATH_MAX:
        return
    for i in range(2 * CAPTURES_MAX + 2):
        marks[i] = -1
    _walk_back(captures, path, states)
    if not _walk(captures, path.size, states, marks):
        return
    for i in range(captures.n_groups):
        if 0 <= marks[2 * i + 2] <= marks[2 * i + 3]:
            match.captures[i] = text_of(
                path.at + marks[2 * i + 2], <uint32_t> (marks[2 * i + 3] - marks[2 * i + 2]))
