# The table of balancing methods. Each registers itself when its module is imported, so that a
# configuration can name it and the balance stage can call it without knowing it.
from fastlb._core.base.enums cimport BALANCE_COUNT

from typing import NamedTuple


class BalanceInfo(NamedTuple):
    number: int
    meaning: str
    by_key: bool
    in_turn: bool
    by_load: bool
    by_latency: bool


BALANCES = {}
_next = <int> BALANCE_COUNT


cdef int new_balance() except -1:
    """Return a number that no other method has."""
    global _next
    if _next >= BALANCES_MAX:
        raise RuntimeError("there are too many balancing methods: raise BALANCES_MAX")
    _next += 1
    return _next - 1


cdef int register_balance(int number, str name, int flags, TakeServer take,
                          str meaning) except -1:
    """`name` is what a configuration says."""
    if balance_rows[number].take != NULL or name in BALANCES:
        raise RuntimeError(f"two balancing methods have the name {name} or the number {number}")
    balance_rows[number].take = take
    balance_rows[number].flags = flags
    BALANCES[name] = BalanceInfo(
        number, meaning, flags & BALANCE_BY_KEY != 0, flags & BALANCE_IN_TURN != 0,
        flags & BALANCE_BY_LOAD != 0, flags & BALANCE_BY_LATENCY != 0)
    return 0
