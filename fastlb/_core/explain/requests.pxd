from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport TlsFacts
from fastlb._core.base.routing cimport Decision
from fastlb._core.explain.rehearsal cimport Rehearsal


cdef class Reasons(Rehearsal):
    cdef bytes _raw
    cdef int _verdict
    cdef TlsFacts* _secured             # of the client
    cdef int _introduce(self, object client, object secured, object told) except -1
    cdef Decision* _decision(self, object result, bint failure) except NULL
    cdef void _adapt(self, Decision* decision) noexcept nogil
    cdef object _facts(self)
    cdef bytes _answer(self)
    cdef object _value(self, const FactRef* key)


cdef bytes bytes_of(Text text)
