# What the record of a request needs of its head, copied before the head goes.
from libc.stdint cimport uint16_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memchr, memcpy, memset

from fastlb._core.base.enums cimport HTTP_OLD_CLIENT
from fastlb._core.base.head cimport FIELD_OTHER, FIELD_TRACEPARENT, HEAD_ABSOLUTE, Head, Text
from fastlb._core.base.limits cimport TOLD_BYTES_MAX
from fastlb._core.base.mem cimport chunk_bytes, chunk_class, give_held, take_held
from fastlb._core.base.net cimport address_port
from fastlb._core.base.observations cimport (
    RECORD_H2, RECORD_HTTP, RECORD_OLD, RECORD_TRACED, TOLD_COUNT, TOLD_FACTS, TOLD_HOST,
    TOLD_METHOD, TOLD_PARENT, TOLD_PATH, TOLD_QUERY, TOLD_REFERER, TOLD_REQUEST_ID, TOLD_TRACE,
    TOLD_USER_AGENT, Record,
)
from fastlb._core.base.text cimport is_literal_nocase, text_of
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport fl_load32, fl_load64, unlikely
from fastlb._core.facts.registry cimport fact_find, facts_recorded, recorded_facts
from fastlb._core.proto.http1 cimport field_value


cdef void _split_target(const Head* head, Text* path, Text* query) noexcept nogil:
    """As it was sent, without a scheme and a host."""
    cdef const uint8_t* at = head.bytes + head.target_at
    cdef uint32_t size = head.target_size
    cdef uint32_t skipped
    cdef const uint8_t* found
    if unlikely(head.flags & HEAD_ABSOLUTE):
        found = <const uint8_t*> memchr(at, 58, size)
        skipped = <uint32_t> (found - at) + 3 if found != NULL else size
        while skipped < size and at[skipped] != c'/' and at[skipped] != c'?':
            skipped += 1
        skipped = skipped if skipped < size else size
        at += skipped
        size -= skipped
    found = <const uint8_t*> memchr(at, 63, size)
    if found == NULL:
        path[0] = text_of(at, size)
        query[0] = text_of(NULL, 0)
        return
    path[0] = text_of(at, <uint32_t> (found - at))
    query[0] = text_of(found + 1, size - path.size - 1)


cdef void _find_fields(Core* core, Text* texts) noexcept nogil:
    cdef Head* head = &core.http.head
    cdef uint32_t i, size
    cdef const uint8_t* name
    for i in range(head.n_fields):
        size = head.fields[i].name_size
        if head.fields[i].kind == FIELD_OTHER:
            name = head.bytes + head.fields[i].name_at
            if size == 10 and is_literal_nocase(name, size, b"user-agent"):
                texts[TOLD_USER_AGENT] = field_value(head, &head.fields[i])
            elif size == 7 and is_literal_nocase(name, size, b"referer"):
                texts[TOLD_REFERER] = field_value(head, &head.fields[i])
        elif head.fields[i].kind == FIELD_TRACEPARENT and texts[TOLD_TRACE].size == 0:
            texts[TOLD_TRACE] = field_value(head, &head.fields[i])


cdef void make_note(Core* core, Exchange* x) noexcept nogil:
    """Of core.http.head and match. Nothing is noted when memory is gone."""
    cdef Head* head = &core.http.head
    cdef Text[TOLD_COUNT] texts
    cdef uint64_t wanted = fl_load64(&core.live.recorded)
    cdef Record* record
    cdef uint8_t* at
    cdef uint32_t size = sizeof(Record)
    cdef int i, n = TOLD_FACTS
    drop_note(core, x)
    memset(texts, 0, sizeof(texts))
    texts[TOLD_METHOD] = text_of(head.bytes + head.method_at, head.method_size)
    texts[TOLD_HOST] = head.authority
    _split_target(head, &texts[TOLD_PATH], &texts[TOLD_QUERY])
    texts[TOLD_TRACE] = core.http.match.trace
    texts[TOLD_PARENT] = core.http.match.parent
    texts[TOLD_REQUEST_ID] = core.http.match.request_id
    if texts[TOLD_REQUEST_ID].size == 0 and head.request_id >= 0:
        texts[TOLD_REQUEST_ID] = field_value(head, &head.fields[head.request_id])
    _find_fields(core, texts)
    if unlikely(wanted != 0):
        n = TOLD_FACTS + facts_recorded()
        for i in range(TOLD_FACTS, n):
            if wanted >> (i - TOLD_FACTS) & 1:
                fact_find(core, x, &recorded_facts[i - TOLD_FACTS], &texts[i])
    for i in range(n):
        if unlikely(texts[i].size > TOLD_BYTES_MAX):
            texts[i].size = TOLD_BYTES_MAX
        size += texts[i].size
    x.books.note = take_held(core, chunk_class(size + 8))
    if unlikely(x.books.note == NULL):
        return
    record = <Record*> chunk_bytes(x.books.note)
    memset(record, 0, sizeof(Record))
    at = <uint8_t*> record + sizeof(Record)
    for i in range(n):
        record.sizes[i] = <uint16_t> texts[i].size
        if texts[i].size:
            memcpy(at, texts[i].at, texts[i].size)
            at += texts[i].size
    record.size = (size + 7) & ~<uint32_t> 7
    record.kind = RECORD_HTTP
    record.client_port = address_port(&x.peer)
    record.client_ip_size = x.client_ip_size
    memcpy(record.client_ip, x.client_ip, x.client_ip_size)
    if unlikely(x.carrier != NULL):
        record.flags = RECORD_H2
    elif x.http.flags & HTTP_OLD_CLIENT:
        record.flags = RECORD_OLD
    if unlikely(fl_load32(&core.live.traced) != 0) and core.http.match.trace.size:
        record.flags |= RECORD_TRACED
    x.books.note.end = record.size


cdef void drop_note(Core* core, Exchange* x) noexcept nogil:
    if unlikely(x.books.note != NULL):
        give_held(core, x.books.note)
        x.books.note = NULL
