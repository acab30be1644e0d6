# The Date of our own answers (RFC 9110, 6.6.1), made once a second.
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from fastlb._core.base.sys cimport clock_utc
from fastlb._core.base.text cimport Writer, put, put_literal
from fastlb._core.base.types cimport Core
from fastlb._core.ext.linux cimport tm


cdef void _two(uint8_t* into, int n) noexcept nogil:
    into[0] = <uint8_t> (48 + n // 10 % 10)
    into[1] = <uint8_t> (48 + n % 10)


cdef void _make(uint8_t* text) noexcept nogil:
    """RFC 9110, 5.6.7, whatever the locale: "Sun, 06 Nov 1994 08:49:37 GMT"."""
    cdef const char* days = "SunMonTueWedThuFriSat"
    cdef const char* months = "JanFebMarAprMayJunJulAugSepOctNovDec"
    cdef tm now
    clock_utc(&now)
    memcpy(text, <const char*> b"Sun, 06 Nov 1994 08:49:37 GMT", 29)
    memcpy(text, days + 3 * now.tm_wday, 3)
    _two(text + 5, now.tm_mday)
    memcpy(text + 8, months + 3 * now.tm_mon, 3)
    _two(text + 12, (now.tm_year + 1900) // 100)
    _two(text + 14, now.tm_year)
    _two(text + 17, now.tm_hour)
    _two(text + 20, now.tm_min)
    _two(text + 23, now.tm_sec)


cdef void put_date(Core* core, Writer* w) noexcept nogil:
    if core.http.date_s != <int64_t> (core.now_ms // 1000) + 1:
        core.http.date_s = <int64_t> (core.now_ms // 1000) + 1      # 0: not made yet
        _make(core.http.date)
    put_literal(w, b"Date: ")
    put(w, core.http.date, 29)
    put_literal(w, b"\r\n")
