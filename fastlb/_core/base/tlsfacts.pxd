# What TLS knows of a client, for routes, header fields, policies and the log. It is found out when
# somebody first asks, and kept with the connection from then on.
from fastlb._core.base.enums cimport LAYER_NONE
from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport TlsFacts
from fastlb._core.base.types cimport Exchange, Stream
from fastlb._core.ext.atomic cimport unlikely

cdef enum:                      # TlsFact
    TLS_SNI = 0                 # the name that was asked for, in lower case
    TLS_VERSION = 1             # "TLSv1.3"
    TLS_SUBJECT = 2             # of the client's certificate, as RFC 4514 writes it
    TLS_FINGERPRINT = 3         # its SHA-256, in lower case


cdef inline const Stream* secured_stream(Exchange* x) noexcept nogil:
    """The client's; of a request of HTTP/2, that of its connection."""
    return &x.carrier.client if x.carrier != NULL else &x.client


cdef inline Text tls_fact(const Stream* s, int which) noexcept nogil:
    """Nothing where there is no TLS, or where the client hasn't got it."""
    cdef const TlsFacts* facts = tls_facts(s)
    cdef Text nothing
    if facts != NULL:
        return facts.all[which]
    nothing.at = NULL
    nothing.size = 0
    return nothing


cdef inline void drop_told(Stream* s) noexcept nogil:
    """What is known of a client whose TLS somebody else ends."""
    if unlikely(s.tls != NULL) and s.layer == LAYER_NONE:
        drop_facts(<TlsFacts*> s.tls)
        s.tls = NULL


cdef TlsFacts* tls_facts(const Stream* s) noexcept nogil
cdef TlsFacts* make_facts(const Text* all) noexcept nogil
cdef void hold_facts(TlsFacts* facts) noexcept nogil
cdef void drop_facts(TlsFacts* facts) noexcept nogil
