from fastlb._core.ext.openssl cimport BIO, EVP_PKEY, X509


cdef class Certificate:         # PEM, as it was checked
    cdef X509* leaf
    cdef EVP_PKEY* key
    cdef bytes _text                # what makes it equal to another
    cdef readonly tuple names
    cdef readonly long not_before
    cdef readonly long not_after
    cdef readonly str algorithm
    cdef readonly str fingerprint
    cdef readonly str subject
    cdef X509** issuers
    cdef int n_issuers
    cdef int _read_chain(self, bytes cert) except -1
    cdef int _read_key(self, bytes key, bytes password) except -1

cdef BIO* memory_bio(bytes text) except NULL
cdef str last_error()
cdef int no_password(char* into, int size, int write, void* given) noexcept nogil
