# TLS on a stream, by OpenSSL: what base/net has for plain sockets. Bytes go from OpenSSL to the
# socket as they are made, and a record that doesn't fit waits in there: a write that was told
# -EAGAIN has to be tried again with the same bytes.
#
# OpenSSL's queue of errors is empty between calls: whoever meets an error clears it.
from fastlb._core.base.head cimport Text
from fastlb._core.base.types cimport Core, Stream, TlsEntry

cdef enum TlsFailure:           # of a server, as ServerLive.error has it
    # -1 and below: what is wrong with its certificate, as X509_V_ERR_... says
    TLS_CLOSED = -10000         # below: TLS_CLOSED less OpenSSL's reason
    TLS_NOT_H2 = -30000
    TLS_BROKEN = -30001         # not by TLS: a key or a signature is wrong


cdef bint tls_open(Core* core, Stream* s, TlsEntry* entry, bint accept) noexcept nogil
cdef void tls_moved(Stream* s) noexcept nogil
cdef bint tls_expect(Stream* s, const char* name, bint verify) noexcept nogil
cdef Text tls_chosen(const Stream* s) noexcept nogil
cdef bint tls_speaks_h2(const Stream* s) noexcept nogil
cdef bint tls_is_resumed(const Stream* s) noexcept nogil
cdef int tls_handshake(Stream* s) noexcept nogil
cdef bint tls_is_http(int reason) noexcept nogil
cdef int tls_failure() noexcept nogil
cdef int tls_server_failure(const Stream* s) noexcept nogil
cdef str tls_words(int failure)
cdef void tls_forget() noexcept nogil
cdef ssize_t tls_read(Stream* s, void* into, size_t size) noexcept nogil
cdef ssize_t tls_peek(Stream* s, void* into, size_t size) noexcept nogil
cdef ssize_t tls_write(Stream* s, const void* data, size_t size) noexcept nogil
cdef ssize_t tls_write_bulk(Core* core, Stream* s, const void* data, size_t size) noexcept nogil
cdef void tls_shut(Stream* s) noexcept nogil
cdef void tls_close(Core* core, Stream* s, bint silent) noexcept nogil
