# A chunked body that is all here when its head is, as those of small requests and of gRPC's unary
# calls are: it goes out with the head, in one write, and can be sent again.
from libc.stdint cimport uint32_t

from fastlb._core.base.filters cimport Sent
from fastlb._core.base.text cimport Writer
from fastlb._core.base.types cimport Core, Http


cdef int take_chunks(Core* core, Http* http, uint32_t available, Writer* w,
                     Sent* sent) noexcept nogil
