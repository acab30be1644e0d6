# What a proxy in front of us told of a client, by the PROXY protocol: for keys, header fields, and
# the servers that are told in their turn. It is kept as long as the connection, and its copies.
from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport (
    PROXY_AUTHORITY_BYTES_MAX, PROXY_FACT_BYTES_MAX, PROXY_UNIQUE_ID_BYTES_MAX,
)
from fastlb._core.base.parts cimport Proxied, ProxyHeader
from fastlb._core.base.types cimport Core, Exchange, Stream

cdef enum:                      # ProxyFact
    PROXY_AUTHORITY = 0         # the name that the client asked the proxy for, in lower case
    PROXY_UNIQUE_ID = 1         # of the connection, as the proxy calls it
    PROXY_ALPN = 2              # what it chose with the client
    PROXY_VPCE = 3              # AWS: the id of the endpoint of a private network
    PROXY_DST = 4               # where the client connected to, with the port

cdef enum:
    ADDRESS_BYTES_MAX = 64          # "[", 45 of IPv6, "]:65535"
    # Of all facts, as they are written: bytes that no header field may have take two each.
    FACTS_BYTES_MAX = (PROXY_AUTHORITY_BYTES_MAX + 2 * PROXY_UNIQUE_ID_BYTES_MAX
                       + 4 * PROXY_FACT_BYTES_MAX + ADDRESS_BYTES_MAX)


cdef inline Proxied* proxied_of(Exchange* x) noexcept nogil:
    """NULL: nothing was told. Of a request of HTTP/2, its connection's."""
    return x.carrier.proxied if x.carrier != NULL else x.proxied


cdef inline Text proxy_fact(const Stream* s, int which) noexcept nogil:
    """Of a client's stream; nothing where no proxy said it."""
    cdef Text nothing
    if s != NULL and s.exchange != NULL and s.exchange.proxied != NULL:
        return s.exchange.proxied.facts[which]
    nothing.at = NULL
    nothing.size = 0
    return nothing


cdef inline const Text* told_by_proxy(Exchange* x) noexcept nogil:
    """[PROXY_FACTS]; NULL: nothing was told."""
    cdef Proxied* proxied = proxied_of(x)
    return proxied.facts if proxied != NULL else NULL


cdef Proxied* make_proxied(Core* core, const ProxyHeader* header) noexcept nogil
cdef Proxied* share_proxied(Core* core, Exchange* x) noexcept nogil
cdef void drop_proxied(Core* core, Exchange* x) noexcept nogil
