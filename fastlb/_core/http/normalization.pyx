# Header fields that are valid, but written anew for servers.
from libc.stdint cimport uint32_t

from fastlb._core.base.head cimport FIELD_CONTENT_LENGTH, FIELD_UPGRADE, Head, Text
from fastlb._core.base.text cimport Writer, put_literal, put_text, text_of
from fastlb._core.proto.http1 cimport field_value


cdef void put_length(Head* head, Writer* w) noexcept nogil:
    """Content-Length without zeros before it, which some would read as an octal number."""
    cdef Text value
    cdef uint32_t i
    for i in range(head.n_fields):
        if head.fields[i].kind == FIELD_CONTENT_LENGTH:
            value = field_value(head, &head.fields[i])
            while value.size > 1 and value.at[0] == c'0':
                value = text_of(value.at + 1, value.size - 1)
            put_literal(w, b"Content-Length: ")
            put_text(w, value)
            put_literal(w, b"\r\n")


cdef void put_upgrade(Head* head, Writer* w) noexcept nogil:
    """Upgrade, which Connection has to name (RFC 9110, 7.8): one field, also of several lines."""
    cdef bint first = True
    cdef uint32_t i
    put_literal(w, b"Connection: Upgrade\r\nUpgrade: ")
    for i in range(head.n_fields):
        if head.fields[i].kind == FIELD_UPGRADE:
            if not first:
                put_literal(w, b", ")
            put_text(w, field_value(head, &head.fields[i]))
            first = False
    put_literal(w, b"\r\n")
