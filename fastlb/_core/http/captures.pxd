from fastlb._core.base.head cimport Text
from fastlb._core.base.routing cimport Captures, Match
from fastlb._core.base.types cimport Chunk


cdef void capture(const Captures* captures, Text path, Match* match, Chunk* scratch) noexcept nogil
