# Which datagrams come from a listener of ours: an answer to one would come back as a question.
from fastlb._core.base.parts cimport Address
from fastlb._core.base.sessions cimport Datagrams
from fastlb._core.base.types cimport Acceptor


cdef void listening_add(Datagrams* datagrams, Acceptor* acceptor) noexcept nogil
cdef void listening_remove(Datagrams* datagrams, Acceptor* acceptor) noexcept nogil
cdef bint is_listening(const Datagrams* datagrams, const Address* address) noexcept nogil
