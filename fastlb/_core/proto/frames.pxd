# Where the frames of a WebSocket end (RFC 6455, 5.2), of bytes as they pass.
from libc.stdint cimport uint8_t

from fastlb._core.base.parts cimport Frames

cdef void frames_cut(Frames* frames, const uint8_t* at, const uint8_t* end) noexcept nogil
cdef int put_close(uint8_t* into, int code, bint masked, const uint8_t* key) noexcept nogil


cdef inline void frames_follow(Frames* frames, const uint8_t* data, size_t size) noexcept nogil:
    """Go on by these bytes. Within a frame, that costs a comparison."""
    if frames.step == 0 and size <= frames.left:
        frames.left -= size
        return
    frames_cut(frames, data, data + size)


cdef inline bint is_between(const Frames* frames) noexcept nogil:
    """Whether the last frame is whole, so that another may come."""
    return frames.left == 0 and frames.step == 0
