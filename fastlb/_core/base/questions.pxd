# What engines and the control plane hand each other about policies.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastlb._core.base.parts cimport About
from fastlb._core.base.routing cimport Decision

cdef struct Question:           # to a policy on the control plane; what it is about follows
    Question* next
    uint64_t ticket
    void* exchange              # Exchange: handed back with the answer, and never followed
    int engine
    uint32_t policy             # id
    uint8_t is_withdrawn        # nobody waits for the answer any more
    uint8_t is_late             # because its deadline is over
    About about
    uint32_t size               # of the bytes; http: which follow their Head

cdef struct Answered:           # what a policy on the control plane said
    Answered* next
    uint64_t ticket
    void* exchange              # Exchange
    Decision* decision

cdef struct Cached:             # a decision that holds for a while
    Decision* decision          # NULL: none
    uint32_t policy             # id
    uint64_t hash
    uint64_t expires_ms
    uint8_t* key
    uint32_t key_size
