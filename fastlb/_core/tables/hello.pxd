from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.parts cimport TlsEntry
from fastlb._core.ext.openssl cimport EVP_CIPHER_CTX, EVP_MAC_CTX, SSL, SSL_SESSION, X509

cdef struct Staple:             # an OCSP response
    const X509* leaf            # the certificate that it is about
    const unsigned char* at
    long size
    Staple* next

cdef int entry_index            # of a context's extra data: its TlsEntry
cdef int staple_index           # its Staples, if it has any


cdef void* find_name(const TlsEntry* entry, const uint8_t* name, uint32_t size) noexcept nogil
cdef int on_hello(SSL* ssl, int* alert, void* given) noexcept nogil
cdef int on_alpn(SSL* ssl, const unsigned char** chosen, unsigned char* chosen_size,
                 const unsigned char* offered, unsigned int size, void* given) noexcept nogil
cdef int on_status(SSL* ssl, void* given) noexcept nogil
cdef void on_key(const SSL* ssl, const char* line) noexcept nogil
cdef int on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                   EVP_MAC_CTX* mac, int make) noexcept nogil
cdef int on_resumed(SSL* ssl, SSL_SESSION* session, const unsigned char* name, size_t size,
                    int status, void* given) noexcept nogil
