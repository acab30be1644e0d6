from typing import NamedTuple

class BalanceInfo(NamedTuple):
    number: int
    meaning: str
    by_key: bool            # a key keeps its server
    in_turn: bool           # it goes by a sequence of turns
    by_load: bool           # it goes by what servers are doing
    by_latency: bool        # how long they take is measured

BALANCES: dict[str, BalanceInfo]
