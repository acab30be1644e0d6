# Rate limits: see base/rates.
from fastlb._core.base.types cimport Core, Exchange


cdef object rates_of(Core* core, const Exchange* x)
