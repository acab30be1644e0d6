# Connections that servers authenticate (NTLM, Negotiate), each kept for one client. The credentials
# of one request hold for all that follow on its connection, so that nobody else may send one there.
# A connection is bound to its client as soon as credentials of these schemes are sent on it
# (http/upload), or a server asks for them (http/response); http/upstream keeps it for that client
# alone.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memchr

from fastlb._core.base.head cimport FIELD_AUTHORIZATION
from fastlb._core.base.text cimport text_of
from fastlb._core.base.types cimport Exchange, Upstream
from fastlb._core.http.upstream cimport client_of
from fastlb._core.proto.fields cimport binds_connection, field_kind


cdef void bind_to_kept(Exchange* x) noexcept nogil:
    """Send the request to the server that knows its client from a connection, if it is one of the
    pool's and no cookie names another."""
    cdef const Upstream* kept = client_of(x).kept
    cdef uint32_t i
    if x.bound_to or not kept.is_bound:
        return
    for i in range(x.pool.n_servers):
        if x.pool.servers[i].live == kept.target:
            x.bound_to = <uint16_t> (i + 1)
            return


cdef bint has_binding_credentials(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Whether one of a head's lines, which we have written, has credentials that bind."""
    cdef const uint8_t* colon
    cdef const uint8_t* stop
    while at < end:
        stop = <const uint8_t*> memchr(at, c'\n', end - at)
        if stop == NULL:
            return False
        colon = <const uint8_t*> memchr(at, c':', stop - at)
        if colon != NULL and field_kind(at, <uint32_t> (colon - at)) == FIELD_AUTHORIZATION \
                and binds_connection(text_of(colon + 1, <uint32_t> (stop - colon) - 2)):
            return True
        at = stop + 1
    return False
