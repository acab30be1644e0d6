# The fields that tell a server about the client and the proxies before us.
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.enums cimport EXCHANGE_TRUSTED, LAYER_TLS
from fastlb._core.base.head cimport (
    FIELD_FORWARDED, FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_PROTO, Head,
    Text,
)
from fastlb._core.base.net cimport address_text
from fastlb._core.base.parts cimport Address
from fastlb._core.base.routing cimport (
    FORWARD_FOR, FORWARD_HOST, FORWARD_PROTO, FORWARD_RFC7239, HttpEntry,
)
from fastlb._core.base.text cimport Writer, next_token, put, put_literal, put_text, text_of
from fastlb._core.base.tlsfacts cimport secured_stream
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.linux cimport AF_INET6, INET6_ADDRSTRLEN
from fastlb._core.http.edits cimport Edits, name_is_edited
from fastlb._core.proto.addresses cimport parse_address
from fastlb._core.proto.http1 cimport field_value


cdef void _put_list(Head* head, int kind, Writer* w) noexcept nogil:
    """The values of all fields of a kind, as the one list that they are, with a comma after it."""
    cdef uint32_t i
    for i in range(head.n_fields):
        if head.fields[i].kind == kind and head.fields[i].value_size:
            put_text(w, field_value(head, &head.fields[i]))
            put_literal(w, b", ")


cdef void _put_addresses(Head* head, Writer* w) noexcept nogil:
    """The addresses of all fields X-Forwarded-For, each in its one form and without a port, as
    servers parse it as they see fit."""
    cdef char[INET6_ADDRSTRLEN] ip
    cdef Address address
    cdef Text rest, token
    cdef uint32_t i
    for i in range(head.n_fields):
        if head.fields[i].kind != FIELD_X_FORWARDED_FOR:
            continue
        rest = field_value(head, &head.fields[i])
        while next_token(&rest, &token):
            if parse_address(token, &address):
                put(w, ip, address_text(&address, ip))
            else:
                put_text(w, token)
            put_literal(w, b", ")


cdef bint has_field(Head* head, int kind) noexcept nogil:
    cdef uint32_t i
    for i in range(head.n_fields):
        if head.fields[i].kind == kind and not head.fields[i].drop:
            return True
    return False


cdef inline bint _is_secured(Exchange* x) noexcept nogil:
    """Also where TLS ended at another listener, which has handed it over."""
    return x.bind.tls != NULL or secured_stream(x).layer == LAYER_TLS


cdef void put_forwarded(Core* core, Exchange* x, HttpEntry* entry, const Edits* edits,
                        Writer* w) noexcept nogil:
    """Those that nobody sets or removes."""
    cdef Head* head = &core.http.head
    cdef bint trusted = x.flags & EXCHANGE_TRUSTED
    cdef Text peer = text_of(<const uint8_t*> x.peer_ip, x.peer_ip_size)
    if entry.forwarded & FORWARD_FOR and not name_is_edited(edits, b"X-Forwarded-For"):
        put_literal(w, b"X-Forwarded-For: ")
        if trusted:
            _put_addresses(head, w)
        put_text(w, peer)
        put_literal(w, b"\r\n")
    if entry.forwarded & FORWARD_PROTO and not (
            trusted and has_field(head, FIELD_X_FORWARDED_PROTO)) \
            and not name_is_edited(edits, b"X-Forwarded-Proto"):
        if _is_secured(x):
            put_literal(w, b"X-Forwarded-Proto: https\r\n")
        else:
            put_literal(w, b"X-Forwarded-Proto: http\r\n")
    if entry.forwarded & FORWARD_HOST and head.authority.size and not (
            trusted and has_field(head, FIELD_X_FORWARDED_HOST)) \
            and not name_is_edited(edits, b"X-Forwarded-Host"):
        put_literal(w, b"X-Forwarded-Host: ")
        put_text(w, head.authority)
        put_literal(w, b"\r\n")
    if entry.forwarded & FORWARD_RFC7239 and not name_is_edited(edits, b"Forwarded"):
        put_literal(w, b"Forwarded: ")
        if trusted:
            _put_list(head, FIELD_FORWARDED, w)
        if x.peer.family == AF_INET6:       # RFC 7239, 6
            put_literal(w, b'for="[')
            put_text(w, peer)
            put_literal(w, b']"')
        elif peer.size and peer.at[0] == c'u':
            put_literal(w, b"for=unknown")
        else:
            put_literal(w, b"for=")
            put_text(w, peer)
        if head.authority.size:
            put_literal(w, b';host="')
            put_text(w, head.authority)
            put_literal(w, b'"')
        if _is_secured(x):
            put_literal(w, b";proto=https\r\n")
        else:
            put_literal(w, b";proto=http\r\n")
