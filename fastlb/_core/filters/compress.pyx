# Compress responses on their way to clients that take it (RFC 9110, 8.4 and 12.5.3).
# request: chooses the coding. response: decides, and changes the head. content: codes the body.
from libc.stdint cimport int32_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy, memset

from fastlb._core.base.enums cimport (
    FAIL, HTTP_CONTENT, HTTP_DISCARD, HTTP_FILTERED, HTTP_KEPT_BACK, HTTP_NO_BODY, HTTP_OLD_CLIENT,
    HTTP_RECODED, NEXT, REASON_NO_MEMORY,
)
from fastlb._core.base.filters cimport FILTER_COMPRESS, Content, FilterKind, register_filter
from fastlb._core.base.head cimport (
    BODY_CHUNKED, BODY_LENGTH, BODY_NONE, FIELD_CONTENT_LENGTH, FIELD_OTHER, Field, Head, Text,
)
from fastlb._core.base.limits cimport HTTP_HEADROOM
from fastlb._core.base.mem cimport chunk_bytes, chunk_size
from fastlb._core.base.routing cimport Filter
from fastlb._core.base.text cimport Writer, equal_nocase, is_literal_nocase, next_token, text_of
from fastlb._core.base.types cimport Chunk, Core, Exchange, Http
from fastlb._core.ext.atomic cimport fl_count, unlikely
from fastlb._core.filters.coders cimport (
    CODE_END, CODE_FLUSH, CODE_MORE, Coder, code, give_coder, take_coder,
)
from fastlb._core.http.edits cimport Edits, made_edits, name_is_edited
from fastlb._core.http.filters cimport add_field, filter_state
from fastlb._core.proto.fields cimport cut, weight_of
from fastlb._core.proto.http1 cimport field_name, field_value
from fastlb._core.tables.compression cimport (
    CODINGS, CODING_BROTLI, CODING_GZIP, CODING_NONE, CODING_ZSTD, TYPE_ANY_SUBTYPE, TYPE_EXACT,
    CompressTable, MediaType, compress_table,
)

cdef enum:
    UNNAMED = -1                # a coding that Accept-Encoding doesn't name
    ETAG_BYTES_MAX = 512        # that is made weak; a response with a longer one is left as it is
    TRAILERS_ROOM = 65536       # of the chunk that is coded into, behind the body

cdef struct Seen:               # what a response's head says
    bint is_coded
    bint is_part
    bint is_fixed               # no-transform, or a digest of what came
    bint is_personal
    bint varies                 # by Accept-Encoding already, or by anything
    Field* length
    Field* ranges
    Field* etag


cdef FilterKind _kind           # filled at the end


# --- the request ---

cdef inline bint _is(Text name, const char* small) noexcept nogil:
    return is_literal_nocase(name.at, name.size, small)


cdef int _coding(Text name) noexcept nogil:
    """Coding of a name in Accept-Encoding; CODINGS for any other."""
    if _is(name, b"gzip") or _is(name, b"x-gzip"):
        return CODING_GZIP
    if _is(name, b"br"):
        return CODING_BROTLI
    if _is(name, b"zstd"):
        return CODING_ZSTD
    return CODING_NONE if _is(name, b"identity") else CODINGS


cdef void _weigh(Text value, int32_t* weights, int32_t* others) noexcept nogil:
    """The weights of codings in a list, in thousandths, and that of "*"."""
    cdef Text token
    cdef Text name
    cdef int coding
    while next_token(&value, &token):
        name = cut(&token, c';')
        coding = _coding(name)
        if coding < CODINGS:
            weights[coding] = weight_of(token)
        elif _is(name, b"*"):
            others[0] = weight_of(token)


cdef bint _lists(Text value, const char* small) noexcept nogil:
    """Whether a comma-separated list has a directive, with or without a value."""
    cdef Text token
    cdef Text name
    while next_token(&value, &token):
        name = cut(&token, c'=')
        if _is(name, small):
            return True
    return False


cdef bint _has_weak(Text value) noexcept nogil:
    """Whether a list of ETags has a weak one."""
    cdef Text token
    while next_token(&value, &token):
        if token.size > 2 and token.at[0] == c'W' and token.at[1] == c'/':
            return True
    return False


cdef int _choose(const CompressTable* table, const int32_t* weights, int32_t others) noexcept nogil:
    """The coding with the highest weight, of several the one that the route prefers; CODING_NONE
    where the client prefers none (RFC 9110, 12.5.3)."""
    cdef int best = CODING_NONE
    cdef int32_t most = 0, weight
    cdef uint32_t i
    for i in range(table.n_codings):
        weight = weights[table.codings[i]]
        if weight == UNNAMED:
            weight = others
        if weight > most:
            best, most = table.codings[i], weight
    return best if most >= weights[<int> CODING_NONE] else CODING_NONE


cdef int _on_request(Core* core, Exchange* x, const Filter* filter, void* given) noexcept nogil:
    cdef Compressing* state = <Compressing*> given
    cdef Head* head = &core.http.head
    cdef int32_t weights[<int> CODINGS]
    cdef int32_t others = UNNAMED
    cdef uint32_t i
    cdef Text name
    memset(weights, 0xFF, sizeof(weights))          # UNNAMED, each
    state.is_whole = True
    for i in range(head.n_fields):
        if head.fields[i].kind != FIELD_OTHER:
            continue
        name = field_name(head, &head.fields[i])
        if _is(name, b"accept-encoding"):
            _weigh(field_value(head, &head.fields[i]), weights, &others)
        elif _is(name, b"range"):
            state.is_whole = False
        elif _is(name, b"cache-control"):
            if _lists(field_value(head, &head.fields[i]), b"no-transform"):
                state.is_whole = False
        elif _is(name, b"if-none-match"):
            state.knows_weak = _has_weak(field_value(head, &head.fields[i]))
    # (HTTP/1.0 has no chunks, so that a body that is cut would look whole)
    if not x.http.flags & HTTP_OLD_CLIENT or x.carrier != NULL:
        state.coding = <uint8_t> _choose(<const CompressTable*> filter.table, weights, others)
    state.refuses_identity = weights[<int> CODING_NONE] == 0 or (
        weights[<int> CODING_NONE] == UNNAMED and others == 0)
    return NEXT


cdef int coding_of(const Exchange* x) noexcept nogil:
    """Coding that a request's response would have, if it may; CODING_NONE: none."""
    cdef const Compressing* state = <const Compressing*> filter_state(x, &_kind)
    return state.coding if state != NULL and state.is_whole else CODING_NONE


# --- the response's head ---

cdef void _look_at(Seen* seen, Field* field, Text name, Text value) noexcept nogil:
    """Note what one field says. Names are told apart by their length first."""
    if name.size == 4:
        if _is(name, b"etag"):
            seen.etag = field
        elif _is(name, b"vary"):
            seen.varies = (seen.varies or _lists(value, b"accept-encoding")
                           or _lists(value, b"*"))
    elif name.size == 6:
        if _is(name, b"digest"):
            seen.is_fixed = True
    elif name.size == 10:
        if _is(name, b"set-cookie"):
            seen.is_personal = True
    elif name.size == 11:
        if _is(name, b"content-md5") or _is(name, b"repr-digest"):
            seen.is_fixed = True
    elif name.size == 13:
        if _is(name, b"cache-control"):
            seen.is_fixed = seen.is_fixed or _lists(value, b"no-transform")
            seen.is_personal = seen.is_personal or _lists(value, b"private")
        elif _is(name, b"content-range"):
            seen.is_part = True
        elif _is(name, b"accept-ranges"):
            seen.ranges = field
    elif name.size == 14:
        if _is(name, b"content-digest"):
            seen.is_fixed = True
    elif name.size == 16:
        if _is(name, b"content-encoding") and not _is(value, b"identity"):
            seen.is_coded = True


cdef void _look(Head* head, Seen* seen) noexcept nogil:
    cdef Field* field
    cdef uint32_t i
    memset(seen, 0, sizeof(Seen))
    for i in range(head.n_fields):
        field = &head.fields[i]
        if field.kind == FIELD_CONTENT_LENGTH:
            seen.length = field
        elif field.kind == FIELD_OTHER:
            _look_at(seen, field, field_name(head, field), field_value(head, field))


cdef bint _type_fits(const MediaType* wanted, Text type) noexcept nogil:
    cdef Text text = wanted.text
    if wanted.form == TYPE_EXACT:
        return equal_nocase(type.at, type.size, text.at, text.size)
    if type.size <= text.size:
        return False
    if wanted.form == TYPE_ANY_SUBTYPE:
        return equal_nocase(type.at, text.size, text.at, text.size)
    return equal_nocase(type.at + type.size - text.size, text.size, text.at, text.size)


cdef bint _has_type(const CompressTable* table, Head* head) noexcept nogil:
    """Whether the type is one of those to compress. Events are passed on one by one, and gRPC has
    a compression of its own."""
    cdef Text type, value
    cdef uint32_t i
    if head.content_type < 0:
        return False
    value = field_value(head, &head.fields[head.content_type])
    type = cut(&value, c';')
    if _is(type, b"text/event-stream") or (
            type.size >= 16 and _is(text_of(type.at, 16), b"application/grpc")):
        return False
    for i in range(table.n_types):
        if _type_fits(&table.types[i], type):
            return True
    return False


cdef bint _has_body(int status) noexcept nogil:
    return 200 <= status and status != 204 and status != 205 and status != 304


cdef bint _may_compress(const CompressTable* table, const Compressing* state, Exchange* x,
                        Head* head, const Seen* seen) noexcept nogil:
    """Whether the response is one that is compressed for clients that take it."""
    if not _has_body(head.status) or head.status == 206 or seen.is_coded or seen.is_part \
            or seen.is_fixed or (seen.is_personal and not table.personal) \
            or not _has_type(table, head):
        return False
    # (where a length is known; who takes nothing uncompressed gets short ones compressed, too)
    return state.refuses_identity or seen.length == NULL or _length(x, head, seen) \
        >= table.bytes_min


cdef uint64_t _length(Exchange* x, Head* head, const Seen* seen) noexcept nogil:
    """Content-Length, also of a response to HEAD, which has no body."""
    cdef Text value = field_value(head, seen.length)
    cdef uint64_t length = 0
    cdef uint32_t i
    if head.body.kind == BODY_LENGTH and not x.http.flags & HTTP_NO_BODY:
        return head.body.left
    for i in range(value.size):         # (the parser has seen to its digits)
        if length < <uint64_t> 1 << 50 and c'0' <= value.at[i] <= c'9':
            length = length * 10 + value.at[i] - c'0'
    return length


cdef bint _weaken(Core* core, Head* head, Field* etag) noexcept nogil:
    """Add a weak ETag in place of a strong one: the coded bytes are others than the server's (RFC
    9110, 8.8.1). False: it is too long."""
    cdef Text value
    cdef uint8_t[ETAG_BYTES_MAX + 2] weak
    if etag == NULL:
        return True
    value = field_value(head, etag)
    if value.size >= 2 and value.at[0] == c'W' and value.at[1] == c'/':
        return True
    if value.size > ETAG_BYTES_MAX:
        return False
    memcpy(weak, b"W/", 2)
    memcpy(weak + 2, value.at, value.size)
    if not add_field(core, b"ETag", 4, weak, value.size + 2):
        return False
    etag.drop = True
    return True


cdef const char* _name(int coding) noexcept nogil:
    return b"zstd" if coding == CODING_ZSTD else b"br" if coding == CODING_BROTLI else b"gzip"


cdef bint _vary(Core* core, const Seen* seen) noexcept nogil:
    return seen.varies or add_field(core, b"Vary", 4, b"Accept-Encoding", 15)


cdef bint _begin(Core* core, Exchange* x, const CompressTable* table, Compressing* state,
                 Head* head, Seen* seen) noexcept nogil:
    """Take a coder for the body, and change the head. False: the response stays as it is."""
    cdef Http* http = x.http
    cdef bint has_body = not http.flags & HTTP_NO_BODY
    cdef uint32_t before = core.http.filtering.fields_size
    cdef Edits edits
    if http.lines != NULL:
        edits = made_edits(x)
        if name_is_edited(&edits, b"Content-Encoding"):
            return False
        if name_is_edited(&edits, b"ETag"):
            seen.etag = NULL            # (it is replaced or removed anyway)
    if has_body:
        state.coder = take_coder(core, state.coding, table.levels[state.coding],
                                 http.response.left if http.response.kind == BODY_LENGTH else 0)
        if state.coder == NULL:
            fl_count(&core.counters.compressions_denied, 1)
            return False
    if not add_field(core, b"Content-Encoding", 16, _name(state.coding),
                     2 if state.coding == CODING_BROTLI else 4) \
            or not _weaken(core, head, seen.etag):
        _drop_coder(core, state)
        core.http.filtering.fields_size = before
        return False
    if seen.length != NULL:
        seen.length.drop = True
    if seen.ranges != NULL:
        seen.ranges.drop = True         # (parts of what is made here can't be asked for)
    if has_body:
        head.body.kind = BODY_CHUNKED   # (for the client)
        http.flags |= HTTP_CONTENT | HTTP_RECODED
        fl_count(&core.counters.compressed, 1)
    return True


cdef int _on_response(Core* core, Exchange* x, const Filter* filter, void* given) noexcept nogil:
    cdef const CompressTable* table = <const CompressTable*> filter.table
    cdef Compressing* state = <Compressing*> given
    cdef Head* head = &core.http.head
    cdef Seen seen
    _drop_coder(core, state)            # (of a try before, whose head was no good)
    _look(head, &seen)
    if head.status == 304:
        # What the client has may be a coded response of ours, whose ETag was made weak.
        if state.knows_weak:
            _weaken(core, head, seen.etag)
        _vary(core, &seen)
    elif _may_compress(table, state, x, head, &seen):
        if state.coding and state.is_whole and not _is_empty(x):
            _begin(core, x, table, state, head, &seen)
        _vary(core, &seen)
    return NEXT


cdef inline bint _is_empty(const Exchange* x) noexcept nogil:
    """Whether there is nothing to code: Content-Length is 0."""
    return x.http.response.kind == BODY_NONE and not x.http.flags & HTTP_NO_BODY


# --- the body ---

cdef int _on_content(Core* core, Exchange* x, const Filter* filter, void* given,
                     Content* content) noexcept nogil:
    """Code what has come into the engine's chunk for that."""
    cdef Compressing* state = <Compressing*> given
    cdef uint32_t size = content.end - content.at
    cdef int step = CODE_END if content.is_last else CODE_FLUSH if content.flush else CODE_MORE
    cdef Chunk* chunk = core.http.filtering.coded
    cdef uint8_t* begin
    cdef Writer w
    if unlikely(x.http.flags & HTTP_DISCARD):
        x.http.flags &= ~<uint32_t> HTTP_KEPT_BACK
        _drop_coder(core, state)        # nobody reads it
    if state.coder == NULL:
        return NEXT
    w.at = begin = chunk_bytes(chunk) + HTTP_HEADROOM
    w.end = chunk_bytes(chunk) + chunk_size(chunk.klass) - TRAILERS_ROOM
    w.full = False
    if unlikely(not code(<Coder*> state.coder, chunk_bytes(content.place[0]) + content.at, size,
                         step, &w)):
        x.reason = REASON_NO_MEMORY
        return FAIL
    fl_count(&core.counters.compressed_in, size)
    fl_count(&core.counters.compressed_out, w.at - begin)
    content.place = &core.http.filtering.coded
    content.at = HTTP_HEADROOM
    content.end = HTTP_HEADROOM + <uint32_t> (w.at - begin)
    if step == CODE_MORE:
        x.http.flags |= HTTP_KEPT_BACK
        return NEXT
    x.http.flags &= ~<uint32_t> HTTP_KEPT_BACK
    if content.is_last:
        _drop_coder(core, state)        # (a slow client needn't hold it)
    return NEXT


cdef void _drop_coder(Core* core, Compressing* state) noexcept nogil:
    if state.coder != NULL:
        give_coder(core, <Coder*> state.coder)
        state.coder = NULL


cdef void _on_end(Core* core, Exchange* x, const Filter* filter, void* given) noexcept nogil:
    _drop_coder(core, <Compressing*> given)


_kind.request = _on_request
_kind.response = _on_response
_kind.content = _on_content
_kind.end = _on_end
_kind.state_bytes = sizeof(Compressing)
register_filter(FILTER_COMPRESS, "compress", &_kind, compress_table)
