"""What TLS would know of a client that somebody asks about."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastlb.config.compare import WHOLE
from fastlb.config.effective import EffectiveListener
from fastlb.config.patterns import TLS_FACTS


def secured(
    listener: EffectiveListener, host: str, told: Mapping[str, str]
) -> dict[str, str] | None:
    """By their names, with what isn't told as a client of the host would have it; None without TLS.
    Raises ValueError for what no client of the listener can have."""
    tls = listener.tls
    for fact, value in told.items():
        if fact not in TLS_FACTS:
            raise ValueError(f"{fact!r} is nothing that TLS knows. One of: {', '.join(TLS_FACTS)}")
        if not isinstance(value, str):
            raise ValueError(f"{fact}: {value!r} is not a text")
    if tls is None:
        if told:
            raise ValueError(f"listener {listener.name!r} has no TLS, to know {', '.join(told)}")
        return None
    given = {fact: WHOLE[fact](value) if value else "" for fact, value in told.items()}
    if tls.client_auth == "none" and any(given.get(fact) for fact in TLS_FACTS[2:]):
        raise ValueError(
            f"listener {listener.name!r} asks clients for no certificates (client_auth)"
        )
    # (who connects to an IP address asks for no name; RFC 6066, 3)
    is_name = re.search("[A-Za-z]", host) is not None and ":" not in host
    return {
        "sni": host.lower() if is_name else "", "version": f"TLSv{tls.versions[1]}",
        "client_subject": "", "client_fingerprint": "", **given,
    }


def in_words(listener: EffectiveListener, facts: Mapping[str, str]) -> str:
    """What is taken for granted, and what can't be known, in one line."""
    parts = [facts["version"], f"asks for {facts['sni']}" if facts["sni"] else "asks for no name"]
    subject, fingerprint = facts["client_subject"], facts["client_fingerprint"]
    if subject or fingerprint:
        parts.append(f"is {subject or 'somebody'}")
        parts.append(f"fingerprint {fingerprint or 'not known'}")
    elif listener.tls is not None and listener.tls.client_auth == "required":
        parts.append("its certificate is not known, and wanted here: name it")
    elif listener.tls is not None and listener.tls.client_auth == "optional":
        parts.append("shows no certificate")
    return ", ".join(parts)
