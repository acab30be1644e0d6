# Balancing that knows nothing of servers but their weights: in turns, or by chance.
from libc.stdint cimport uint64_t

from fastlb._core.balance.candidates cimport take_in_turn
from fastlb._core.base.balancing cimport BALANCE_IN_TURN, register_balance
from fastlb._core.base.enums cimport BALANCE_RANDOM, BALANCE_ROUND_ROBIN
from fastlb._core.base.random cimport random_below
from fastlb._core.base.types cimport Core, Exchange, Group
from fastlb._core.ext.atomic cimport fl_add64, fl_load64, likely, unlikely


cdef bint _take_by_turns(Core* core, Exchange* x, const Group* group, int which,
                         bint* full) noexcept nogil:
    """Another try takes no turn, or a bad server would get them all."""
    cdef uint64_t* turns = &x.pool.live.turns[group - x.pool.groups]
    cdef uint64_t turn
    if unlikely(group.n_sequence == 0):
        return False
    if likely(x.n_tried == 0 and which == x.pool.first_pass):
        turn = fl_add64(turns, 1)
    else:
        turn = fl_load64(turns)
    return take_in_turn(core, x, group, which, turn % group.n_sequence, full)


cdef bint _take_by_chance(Core* core, Exchange* x, const Group* group, int which,
                          bint* full) noexcept nogil:
    if unlikely(group.n_sequence == 0):
        return False
    return take_in_turn(core, x, group, which, random_below(core, group.n_sequence), full)


register_balance(BALANCE_ROUND_ROBIN, "round_robin", BALANCE_IN_TURN, _take_by_turns,
                 "in turns, as smooth as the weights allow")
register_balance(BALANCE_RANDOM, "random", BALANCE_IN_TURN, _take_by_chance,
                 "by chance, by weight")
