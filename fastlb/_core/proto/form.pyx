# Members of a form (application/x-www-form-urlencoded, WHATWG URL, 5.1), decoded.
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport Member, Members, Text
from fastlb._core.base.limits cimport MEMBERS_MAX
from fastlb._core.base.text cimport equal, hex_value, text_of


cdef int _decode(Text text, uint32_t* i, uint8_t end, uint8_t* into) noexcept nogil:
    """Up to `end` or "&", decoded: bytes written. What is no escape is as it stands (WHATWG URL,
    1.3)."""
    cdef int n = 0
    cdef uint8_t c
    while i[0] < text.size:
        c = text.at[i[0]]
        if c == c'&' or c == end:
            break
        i[0] += 1
        if c == c'+':
            c = 32
        elif c == c'%' and text.size - i[0] >= 2 and hex_value(text.at[i[0]]) >= 0 \
                and hex_value(text.at[i[0] + 1]) >= 0:
            c = <uint8_t> (hex_value(text.at[i[0]]) << 4 | hex_value(text.at[i[0] + 1]))
            i[0] += 2
        into[n] = c
        n += 1
    return n


cdef int form_members(Text text, Members* members, uint8_t* room) noexcept nogil:
    """1: the members; 0: more than MEMBERS_MAX; -1: two of one name. `room` is for as many bytes as
    the text has."""
    cdef uint32_t i = 0, k
    cdef Member* member
    cdef int n
    members.n = 0
    while i < text.size:
        if text.at[i] == c'&':
            i += 1
            continue
        if members.n == MEMBERS_MAX:
            return 0
        member = &members.all[members.n]
        member.is_plain = True
        n = _decode(text, &i, 61, room)
        member.name = text_of(room, <uint32_t> n)
        room += n
        if i < text.size and text.at[i] == c'=':
            i += 1
        n = _decode(text, &i, 38, room)
        member.value = text_of(room, <uint32_t> n)
        room += n
        for k in range(members.n):
            if equal(members.all[k].name.at, members.all[k].name.size, member.name.at,
                     member.name.size):
                return -1
        members.n += 1
    return 1
