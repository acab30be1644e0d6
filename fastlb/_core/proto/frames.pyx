# Where the frames of a WebSocket end (RFC 6455, 5.2). What is in them is nobody's business here:
# extensions that are in use change payloads, and not the framing.
from libc.stdint cimport uint64_t, uint8_t

from fastlb._core.base.parts cimport Frames

cdef enum:
    OPCODE = 0x0F
    OPCODE_CLOSE = 0x88         # with FIN, as control frames have to have it
    MASKED = 0x80
    LENGTH = 0x7F
    LENGTH_2_BYTES = 126        # a length of 2 bytes follows,
    LENGTH_8_BYTES = 127        # or of 8
    KEY_BYTES = 4
    CODE_BYTES = 2


cdef void frames_cut(Frames* frames, const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Go on by these bytes: past payloads at once, through heads byte by byte."""
    cdef uint8_t length
    while at < end:
        if frames.step == 0 and frames.left:
            if frames.left >= <uint64_t> (end - at):
                frames.left -= <uint64_t> (end - at)
                return
            at += frames.left
            frames.left = 0
            continue
        if frames.step == 0:
            frames.step = 1
            if at[0] & OPCODE == OPCODE_CLOSE & OPCODE:
                frames.has_closed = True
        elif frames.step == 1:
            length = at[0] & LENGTH
            frames.is_masked = at[0] & MASKED != 0
            frames.step = 0
            if length < LENGTH_2_BYTES:
                frames.left = length
            else:
                frames.step = 1 + (2 if length == LENGTH_2_BYTES else 8)
        else:
            frames.left = frames.left << 8 | at[0]
            frames.step -= 1
            if frames.step == 1:
                frames.step = 0
        if frames.step == 0 and frames.is_masked:
            frames.left += KEY_BYTES
        at += 1


cdef int put_close(uint8_t* into, int code, bint masked, const uint8_t* key) noexcept nogil:
    """A close frame; its size. Clients mask theirs with a key of four bytes (5.3)."""
    cdef int i, start = 2
    into[0] = OPCODE_CLOSE
    into[1] = CODE_BYTES
    if masked:
        into[1] |= MASKED
        for i in range(KEY_BYTES):
            into[2 + i] = key[i]
        start += KEY_BYTES
    into[start], into[start + 1] = <uint8_t> (code >> 8), <uint8_t> code
    if masked:
        into[start] ^= key[0]
        into[start + 1] ^= key[1]
    return start + CODE_BYTES
