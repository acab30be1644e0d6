# How pools pick servers: the methods of `balance`, in a table by number.
from libc.stdint cimport uint8_t

from fastlb._core.base.types cimport Core, Exchange, Group

cdef enum:
    BALANCES_MAX = 32

# Take a place at a server of the group that may be picked in this pass (see Pass), for x.attempt.
# False: there is none; `full` where it is for want of places alone.
ctypedef bint (*TakeServer)(Core* core, Exchange* x, const Group* group, int which,
                            bint* full) noexcept nogil

cdef enum BalanceFlag:
    BALANCE_BY_KEY = 1          # a key keeps its server: x.hash is the key's
    BALANCE_IN_TURN = 2         # it goes by group.sequence
    BALANCE_BY_LOAD = 4         # it goes by what servers are doing,
    BALANCE_BY_LATENCY = 8      # and by how long they take: that is measured

cdef struct BalanceRow:
    TakeServer take
    uint8_t flags               # BalanceFlag

cdef BalanceRow[BALANCES_MAX] balance_rows


cdef int new_balance() except -1
cdef int register_balance(int number, str name, int flags, TakeServer take,
                          str meaning) except -1
