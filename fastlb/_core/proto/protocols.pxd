# What a client speaks, by its first bytes.
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport Text
from fastlb._core.proto.clienthello cimport Hello

cdef enum:                      # SpokenFact; the first four as TlsFact
    SPOKEN_SNI = 0
    SPOKEN_TLS_VERSION = 1
    SPOKEN_SUBJECT = 2
    SPOKEN_FINGERPRINT = 3
    SPOKEN_ALPN = 4             # each behind its size
    SPOKEN_CLIENT_ID = 5
    SPOKEN_USERNAME = 6
    SPOKEN_LEVEL = 7
    SPOKEN_FACTS = 8

cdef struct Spoken:
    uint8_t protocol            # Protocol; while more is wanted, what it is if no more comes
    uint32_t wanted             # bytes before which another look is in vain
    Text[SPOKEN_FACTS] facts    # size 0: it hasn't got it
    Hello hello


cdef bint protocol_of(const uint8_t* data, uint32_t size, Spoken* spoken) noexcept nogil
