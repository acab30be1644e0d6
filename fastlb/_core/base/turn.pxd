# Whether an engine is inside a turn: a fork in another thread waits until none is.
from fastlb._core.base.sys cimport yield_cpu
from fastlb._core.base.types cimport Core
from fastlb._core.ext.atomic cimport fl_fence, fl_load32, fl_store32, likely


cdef inline void enter_turn(Core* core) noexcept nogil:
    while True:
        fl_store32(&core.busy, 1)
        fl_fence()
        if likely(fl_load32(&core.pause) == 0):
            return
        fl_store32(&core.busy, 0)
        while fl_load32(&core.pause):
            yield_cpu()


cdef inline void leave_turn(Core* core) noexcept nogil:
    fl_store32(&core.busy, 0)
