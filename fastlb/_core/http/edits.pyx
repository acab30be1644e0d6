# Edits of header fields, in layers, the last of which has the last word:
#   of requests: defaults and listener, pool, route, policy;
#   of responses: defaults, pool, listener and route, policy.
# fastlb/compile/routes makes one list of two levels where both are known beforehand.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memset, strlen

from fastlb._core.base.facts cimport FACT_NONE
from fastlb._core.base.head cimport Field, Head, Text
from fastlb._core.base.mem cimport chunk_bytes, chunk_size, give_held, take_held
from fastlb._core.base.routing cimport EDIT_ADD, EDIT_REMOVE, Edit, EditList
from fastlb._core.base.text cimport Writer, lower, put_literal, put_text, text_of
from fastlb._core.base.types cimport Chunk, Core, Exchange, PoolEntry
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.http.templates cimport put_template

cdef enum:
    LINES_CLASS_MAX = 6         # 256 KiB of fields


cdef inline void _add(Edits* edits, const EditList* layer) noexcept nogil:
    if unlikely(layer.n != 0):
        edits.layers[edits.n] = layer
        edits.n += 1


cdef Edits request_edits(const Exchange* x) noexcept nogil:
    cdef Edits edits
    memset(&edits, 0, sizeof(edits))
    _add(&edits, &x.http.entry.request_edits)
    _add(&edits, &x.pool.request_edits)
    _add(&edits, &x.http.route.request_edits)
    if unlikely(x.decision != NULL):
        _add(&edits, &x.decision.request_edits)
    return edits


cdef Edits response_edits(const Exchange* x, const PoolEntry* pool) noexcept nogil:
    """`pool`: the one that the request was routed to, or NULL."""
    cdef Edits edits
    memset(&edits, 0, sizeof(edits))
    if unlikely(x.http.route == NULL):
        _add(&edits, &x.http.entry.answer_edits)
        return edits
    _add(&edits, &x.http.entry.response_edits)
    if pool != NULL:
        _add(&edits, &pool.response_edits)
    _add(&edits, &x.http.route.response_edits)
    if unlikely(x.decision != NULL):
        _add(&edits, &x.decision.response_edits)
    return edits


cdef Edits made_edits(const Exchange* x) noexcept nogil:
    """Those that x.http.lines were made of."""
    return response_edits(x, &x.snapshot.pools[x.http.lines.scanned])


cdef Edits constant_edits(const Exchange* x) noexcept nogil:
    """Those of an answer whose request isn't at hand."""
    cdef Edits edits
    memset(&edits, 0, sizeof(edits))
    if x.http != NULL and x.http.route != NULL:
        _add(&edits, &x.bind.http.response_edits)
        _add(&edits, &x.http.route.response_edits)
    else:
        _add(&edits, &x.bind.http.answer_edits)
    return edits


cdef inline uint8_t _dashed(uint8_t c) noexcept nogil:
    return c'-' if c == c'_' else lower(c)


cdef bint _same_name(Text a, Text b) noexcept nogil:
    """Whether two names are one field. Case is ignored, and `_` counts as `-`: CGI and WSGI can't
    tell X_Client from X-Client."""
    cdef uint32_t i
    if a.size != b.size:
        return False
    for i in range(a.size):
        if _dashed(a.at[i]) != _dashed(b.at[i]):
            return False
    return True


cdef bint _decides(const EditList* layer, Text name) noexcept nogil:
    """Whether a field of this name is replaced or removed."""
    cdef uint32_t i
    for i in range(layer.n):
        if layer.all[i].op != EDIT_ADD and _same_name(name, layer.all[i].name):
            return True
    return False


cdef bint is_edited(const Edits* edits, Text name) noexcept nogil:
    cdef uint32_t i
    for i in range(edits.n):
        if _decides(edits.layers[i], name):
            return True
    return False


cdef bint name_is_edited(const Edits* edits, const char* name) noexcept nogil:
    """Whether a field that we write ourselves is replaced or removed."""
    if likely(edits.n == 0):
        return False
    return is_edited(edits, text_of(<const uint8_t*> name, <uint32_t> strlen(name)))


cdef bint field_is_edited(const Edits* edits, const Head* head, const Field* field) noexcept nogil:
    return is_edited(edits, text_of(head.bytes + field.name_at, field.name_size))


cdef bint _is_decided_after(const Edits* edits, uint32_t layer, Text name) noexcept nogil:
    cdef uint32_t i
    for i in range(layer + 1, edits.n):
        if _decides(edits.layers[i], name):
            return True
    return False


cdef bint _is_constant(const Edit* edit) noexcept nogil:
    cdef uint32_t i
    for i in range(edit.value.n_parts):
        if edit.value.parts[i].fact != FACT_NONE:
            return False
    return True


cdef void _put(Core* core, Exchange* x, const Edits* edits, bint constants,
               Writer* w) noexcept nogil:
    cdef const Edit* edit
    cdef uint32_t i, k
    for i in range(edits.n):
        for k in range(edits.layers[i].n):
            edit = &edits.layers[i].all[k]
            if edit.op == EDIT_REMOVE or _is_decided_after(edits, i, edit.name) \
                    or (constants and not _is_constant(edit)):
                continue
            put_text(w, edit.name)
            put_literal(w, b": ")
            put_template(core, x, &edit.value, w)
            put_literal(w, b"\r\n")


cdef void put_edits(Core* core, Exchange* x, const Edits* edits, Writer* w) noexcept nogil:
    """The fields that are set and added, with the request at hand."""
    _put(core, x, edits, False, w)


cdef void put_constants(Core* core, Exchange* x, const Edits* edits, Writer* w) noexcept nogil:
    """Write the fields to set whose values have no variables."""
    _put(core, x, edits, True, w)


cdef bint make_lines(Core* core, Exchange* x, const Edits* edits) noexcept nogil:
    """x.http.lines: the fields that the response gets, made while the request is at hand. False:
    memory is gone, or they are too long."""
    cdef Writer w
    cdef int klass = 0
    cdef Chunk* chunk
    while klass <= LINES_CLASS_MAX:
        chunk = take_held(core, klass)
        if chunk == NULL:
            return False
        w.at = chunk_bytes(chunk)
        w.end = w.at + chunk_size(klass)
        w.full = False
        put_edits(core, x, edits, &w)
        if likely(not w.full):
            chunk.end = <uint32_t> (w.at - chunk_bytes(chunk))
            chunk.scanned = <uint32_t> (x.pool - x.snapshot.pools)
            x.http.lines = chunk
            return True
        give_held(core, chunk)
        klass += 2
    return False
