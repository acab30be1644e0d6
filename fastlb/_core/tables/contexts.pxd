from fastlb._core.base.parts cimport TicketKeys, TlsEntry
from fastlb._core.ext.openssl cimport SSL_CTX, X509_STORE
from fastlb._core.tables.arena cimport Arena


cdef class Tickets:
    cdef TicketKeys table
    cdef int _fill(self, int i, bytes data) except -1


cdef class TlsContext:
    cdef TlsEntry entry
    cdef SSL_CTX** _contexts
    cdef int _n_contexts
    cdef Arena _arena
    cdef Tickets _tickets
    cdef object __weakref__
    cdef SSL_CTX* _context(self, object spec) except NULL
    cdef int _configure(self, SSL_CTX* context, object spec) except -1
    cdef int _trust(self, SSL_CTX* context, object spec) except -1
    cdef int _add_authorities(self, SSL_CTX* context, X509_STORE* store, bytes pem,
                              bint is_listener) except -1
    cdef int _add_revocations(self, X509_STORE* store, bytes pem) except -1
    cdef int _certify(self, SSL_CTX* context, object given) except -1
    cdef int _fill_names(self, object certificates) except -1
