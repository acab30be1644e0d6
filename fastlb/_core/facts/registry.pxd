# How each fact is found: by a function, in a table by number.
from libc.stdint cimport uint8_t

from fastlb._core.base.facts cimport FACTS_MAX, FactRef
from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport RECORDED_FACTS_MAX
from fastlb._core.base.types cimport Core, Exchange

# Whether there is something to know, and what: bytes that last until this fact is asked for again.
ctypedef bint (*FindFact)(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil

cdef enum FactFlag:
    FACT_IS_NAMED = 1           # "header.NAME": a name follows
    FACT_OF_CONNECTIONS = 2     # known of TCP connections and UDP sessions too
    FACT_FITS_PATHS = 4         # can stand in a path as it is
    FACT_IN_TEMPLATES = 8       # for templates alone, which write it by themselves
    FACT_IN_BYTES = 16          # only a client's first bytes tell it
    FACT_IN_MATCH = 32          # for `match` alone
    FACT_IS_RECORDED = 64       # a log can have it, and policies see it

cdef struct FactRow:
    FindFact find
    uint8_t flags               # FactFlag

cdef FactRow[FACTS_MAX] fact_rows
cdef FactRef[RECORDED_FACTS_MAX] recorded_facts     # those that records can have, by their places


cdef inline bint fact_find(Core* core, Exchange* x, const FactRef* fact,
                           Text* value) noexcept nogil:
    """Whether the request, or the connection, has this fact; then its value isn't empty."""
    return fact_rows[fact.fact].find(core, x, fact, value) and value.size > 0


cdef int facts_recorded() noexcept nogil
cdef int new_fact() except -1
cdef int register_record(int number, str name, FindFact find) except -1
cdef int register_fact(int number, str name, int flags, FindFact find, str meaning) except -1
