# The reasons for which exchanges end, by name and by number, for Python.
from fastlb._core.base.enums cimport REASON_COUNT
from fastlb._core.base.reasons cimport EndReason, end_reason


cdef str _word(const EndReason* reason, bint error):
    text = reason.error if error else reason.name
    return (<const char*> text.at)[:text.size].decode()


# How an exchange can end, as totals, records and metrics call it.
REASONS = {_word(end_reason(number), False): number for number in range(1, REASON_COUNT)}
BY_NUMBER = {number: name for name, number in REASONS.items()}
# What the error header says, by number.
ERRORS = {number: _word(end_reason(number), True) for number in range(1, REASON_COUNT)}
