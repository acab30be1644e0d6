from typing import NamedTuple

class FactInfo(NamedTuple):
    number: int
    meaning: str
    is_named: bool
    of_connections: bool
    in_templates: bool      # for templates alone
    in_match: bool          # for `match` alone
    in_bytes: bool          # only the first bytes of a connection tell it

FACTS: dict[str, FactInfo]
UNNAMED: dict[str, int]
RECORDED: list[str]
OTHERS: int
