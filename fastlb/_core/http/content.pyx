# A small body that a route asks about. It is read where it lies, before the request goes on.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memcpy

from fastlb._core.base.head cimport BODY_CHUNKED, Body, Head, Text
from fastlb._core.base.limits cimport CHUNKED_ROOM
from fastlb._core.base.routing cimport (
    CONTENT_FORM, CONTENT_JSON, CONTENT_NONE, CONTENT_REPEATED, CONTENT_UNREADABLE, CONTENT_UNSEEN,
    CONTENT_WANTED, Match,
)
from fastlb._core.base.text cimport is_literal_nocase, text_of, trimmed
from fastlb._core.proto.chunked cimport Piece, chunked_next
from fastlb._core.proto.form cimport form_members
from fastlb._core.proto.http1 cimport field_value
from fastlb._core.proto.json cimport json_members


cdef int _type(Head* head) noexcept nogil:
    """By Content-Type: JSON's (also the old text/json, and anything +json), or a form's."""
    cdef Text value
    cdef uint32_t n = 0
    if head.content_type < 0:
        return CONTENT_NONE
    value = field_value(head, &head.fields[head.content_type])
    while n < value.size and value.at[n] != c';':
        n += 1
    value = trimmed(value.at, n)
    if is_literal_nocase(value.at, value.size, b"application/json") \
            or is_literal_nocase(value.at, value.size, b"text/json") or (
            value.size > 5 and is_literal_nocase(value.at + value.size - 5, 5, b"+json")):
        return CONTENT_JSON
    if is_literal_nocase(value.at, value.size,
                    b"application/x-www-form-urlencoded"):
        return CONTENT_FORM
    return CONTENT_NONE


cdef int _unchunk(const Head* head, Match* match, Text* text) noexcept nogil:
    """The content of a chunked body, copied to the room: CONTENT_NONE, WANTED or UNREADABLE."""
    cdef Body body = head.body
    cdef Text* raw = &match.after
    cdef Piece piece
    cdef uint32_t used = 0, n = 0
    cdef int step
    while used < raw.size and not body.done:
        step = chunked_next(&body, raw.at + used, raw.size - used, &piece, NULL)
        if step < 0 or body.total > match.content_max:
            return CONTENT_UNREADABLE
        if piece.size:
            memcpy(match.room + n, raw.at + used + piece.at, piece.size)
            n += piece.size
        used += <uint32_t> step
    if not body.done:
        if raw.size > match.content_max + CHUNKED_ROOM:
            return CONTENT_UNREADABLE
        match.wanted = raw.size + 1
        return CONTENT_WANTED
    text[0] = text_of(match.room, n)
    match.room += n
    return CONTENT_NONE


cdef bint content_begin(const Head* head, Match* match, uint32_t most, Text* text) noexcept nogil:
    """The first `most` bytes of a chunked body, copied to the room; False: more is wanted. A broken
    one ends where it breaks: it is refused where it is passed on."""
    cdef Body body = head.body
    cdef Text* raw = &match.after
    cdef Piece piece
    cdef uint32_t used = 0, n = 0
    cdef int step = 0
    while used < raw.size and n < most and not body.done:
        step = chunked_next(&body, raw.at + used, raw.size - used, &piece, NULL)
        if step < 0:
            break
        if piece.size > most - n:
            piece.size = most - n
        if piece.size:
            memcpy(match.room + n, raw.at + used + piece.at, piece.size)
            n += piece.size
        used += <uint32_t> step
    text[0] = text_of(match.room, n)
    if n < most and not body.done and step >= 0 and raw.size <= most + CHUNKED_ROOM:
        match.wanted = raw.size + 1
        return False
    match.room += n
    return True


cdef int _read(Head* head, Match* match) noexcept nogil:
    cdef int kind = _type(head)
    cdef int state
    cdef Text text
    if kind == CONTENT_NONE or head.body.done:
        return CONTENT_NONE
    if head.body.kind == BODY_CHUNKED:
        state = _unchunk(head, match, &text)
        if state != CONTENT_NONE:
            return state
    else:
        if head.body.left > match.content_max:
            return CONTENT_UNREADABLE
        if head.body.left > match.after.size:
            match.wanted = <uint32_t> head.body.left
            return CONTENT_WANTED
        text = text_of(match.after.at, <uint32_t> head.body.left)
    if kind == CONTENT_JSON:
        state = json_members(text, match.members, match.room)
    else:
        state = form_members(text, match.members, match.room)
    if state < 0:
        return CONTENT_REPEATED
    return kind if state else CONTENT_UNREADABLE


cdef int content_state(Head* head, Match* match) noexcept nogil:
    """What is known of the body; if it is CONTENT_JSON or CONTENT_FORM, match.members has it."""
    if match.content == CONTENT_UNSEEN:
        match.content = <uint8_t> _read(head, match)
    return match.content
