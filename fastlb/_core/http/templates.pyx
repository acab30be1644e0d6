# Text with variables of a request: header values, locations, rewritten paths.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memmove

from fastlb._core.base.facts cimport (
    FACT_COOKIE, FACT_HEADER, FACT_KEPT_QUERY, FACT_NONE, FACT_QUERY, FACT_SENT_PATH, FACT_URI,
    FactRef,
)
from fastlb._core.base.head cimport Text
from fastlb._core.base.routing cimport Template
from fastlb._core.base.text cimport Writer, put_literal, put_text
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.facts.registry cimport FACT_FITS_PATHS, fact_find, fact_rows
from fastlb._core.proto.uri cimport put_escaped


cdef void put_template(Core* core, Exchange* x, const Template* template,
                       Writer* w) noexcept nogil:
    """A fact that the request lacks is nothing."""
    cdef uint32_t i
    for i in range(template.n_parts):
        _put_part(core, x, &template.parts[i], w, False)


cdef void put_path(Core* core, Exchange* x, const Template* template, Writer* w) noexcept nogil:
    """The same for a path: what comes from elsewhere in the request is a part of one segment."""
    cdef uint32_t i
    for i in range(template.n_parts):
        _put_part(core, x, &template.parts[i], w, True)


cdef bint _may_name_hosts(const FactRef* first) noexcept nogil:
    """Whether a location that begins so is meant to begin with two slashes, if it does."""
    if first.fact == FACT_NONE:
        return first.name.size > 1
    return first.fact == FACT_QUERY or first.fact == FACT_HEADER or first.fact == FACT_COOKIE


cdef void put_location(Core* core, Exchange* x, const Template* template,
                       Writer* w) noexcept nogil:
    """The same for a location. Behind the slash that it begins with, variables begin with none:
    "//host/" would name another host, and so would a backslash (WHATWG URL, 4.4)."""
    cdef uint8_t* start = w.at
    cdef uint32_t n = 1, size
    put_template(core, x, template, w)
    size = <uint32_t> (w.at - start)
    if w.full or size == 0 or start[0] != c'/' or _may_name_hosts(&template.parts[0]):
        return
    while n < size and (start[n] == c'/' or start[n] == c'\\'):
        n += 1
    memmove(start + 1, start + n, size - n)
    w.at -= n - 1


cdef void _put_query(Core* core, Writer* w, bint with_empty) noexcept nogil:
    """With its "?"."""
    cdef Text query = core.http.head.query
    if query.size or (with_empty and query.at != NULL):
        put_literal(w, b"?")
        put_text(w, query)


cdef void _put_part(Core* core, Exchange* x, const FactRef* part, Writer* w,
                    bint in_path) noexcept nogil:
    cdef FactRef path
    cdef Text value
    if part.fact == FACT_NONE:
        put_text(w, part.name)
    elif part.fact == FACT_KEPT_QUERY:
        _put_query(core, w, False)
    elif part.fact == FACT_URI:
        path.fact = FACT_SENT_PATH
        if fact_find(core, x, &path, &value):
            put_text(w, value)
        if not in_path:
            _put_query(core, w, True)
    elif fact_find(core, x, part, &value):
        if in_path and not fact_rows[part.fact].flags & FACT_FITS_PATHS:
            put_escaped(w, value, part.fact != FACT_QUERY)
        else:
            put_text(w, value)
