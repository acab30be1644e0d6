"""OCSP responses (RFC 6960, 4.2.1), as far as shows whether one can be stapled."""

from __future__ import annotations

import calendar
import time

# What stands in one: kinds of DER (X.690, 8.1.2).
OCTETS, OBJECT, ENUMERATED, TIME, SEQUENCE, CONTEXT_0 = 0x04, 0x06, 0x0A, 0x18, 0x30, 0xA0
NONE = "is no OCSP response in DER"
REFUSALS = {
    1: "malformedRequest", 2: "internalError", 3: "tryLater", 5: "sigRequired", 6: "unauthorized",
}


def good_until(der: bytes) -> float | None:
    """In seconds since 1970; None where it doesn't say. ValueError: it is none, or it is a
    responder's refusal. Whether it is signed is for clients to see."""
    whole, rest = _take(der, SEQUENCE)
    status, whole = _take(whole, ENUMERATED)
    if rest or len(status) != 1:
        raise ValueError(NONE)
    if status[0]:
        raise ValueError(f"is a responder's refusal: {REFUSALS.get(status[0], status[0])}")
    basic, _ = _take(_take(whole, CONTEXT_0)[0], SEQUENCE)
    basic, _ = _take(_take(basic, OBJECT)[1], OCTETS)
    data, _ = _take(_take(basic, SEQUENCE)[0], SEQUENCE)
    kind = 0
    while kind != TIME:             # a version and who answers come before when it was made
        kind, _, data = _item(data)
    one, _ = _take(_take(data, SEQUENCE)[0], SEQUENCE)
    _, _, one = _item(one)          # which certificate
    _, _, one = _item(one)          # whether it is revoked
    _, one = _take(one, TIME)       # since when that is known
    if one[:1] != bytes([CONTEXT_0]):
        return None
    return _seconds(_take(_take(one, CONTEXT_0)[0], TIME)[0])


def _seconds(text: bytes) -> float:
    try:
        return calendar.timegm(time.strptime(text.decode(), "%Y%m%d%H%M%SZ"))
    except ValueError:
        raise ValueError("has a date that can't be read") from None


def _take(der: bytes, wanted: int) -> tuple[bytes, bytes]:
    """What is in the first item, which has to be of this kind, and what follows it."""
    kind, inside, rest = _item(der)
    if kind != wanted:
        raise ValueError(NONE)
    return inside, rest


def _item(der: bytes) -> tuple[int, bytes, bytes]:
    if len(der) < 2:
        raise ValueError(NONE)
    size, begin = der[1], 2
    if size > 0x7F:                 # so many bytes have the size (X.690, 8.1.3.5), one at least
        begin += size - 0x80
        size = int.from_bytes(der[2:begin], "big")
    if begin + size > len(der) or der[1] == 0x80:
        raise ValueError(NONE)
    return der[0], der[begin : begin + size], der[begin + size :]
