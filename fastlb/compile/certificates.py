"""How listeners and pools speak TLS, as the core wants it. What is the same is made once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from weakref import WeakValueDictionary

from fastlb._core.tables.certificates import Certificate
from fastlb._core.tables.contexts import Tickets, TlsContext

VERSIONS = {"1.2": 0x0303, "1.3": 0x0304}
NOBODY, OPTIONAL, REQUIRED = 0, 1, 2


@dataclass(frozen=True)
class CertificateSpec:
    """What is shown for some names: certificates with keys of several kinds (RSA and ECDSA)."""

    names: tuple[bytes, ...]
    certificates: tuple[Certificate, ...]
    ocsp: bytes = b""


@dataclass(frozen=True)
class TlsSpec:
    """One SSL_CTX for each certificate of a listener, or one for a pool."""

    is_listener: bool
    certificates: tuple[CertificateSpec, ...]
    alpn: bytes                 # as in RFC 7301, 3.1
    versions: tuple[int, int]
    ciphers: bytes              # of TLS 1.2; empty: OpenSSL's own
    cipher_suites: bytes        # of TLS 1.3
    curves: bytes
    verify: int                 # NOBODY, OPTIONAL, REQUIRED
    depth: int                  # -1: OpenSSL's own
    authorities: bytes          # empty: the system's
    revocations: bytes
    tickets: bool
    refuses: bool               # names that no certificate has
    scope: bytes                # 16 bytes: whose sessions may be resumed
    key_log: str


def wire(protocols: tuple[str, ...]) -> bytes:
    """Names of protocols, as ALPN has them."""
    return b"".join(bytes([len(name)]) + name.encode() for name in protocols)


def scope(*parts: object) -> bytes:
    """What a session was begun with: one that was begun with other things isn't resumed."""
    return hashlib.sha256(repr(parts).encode()).digest()[:16]


class Contexts:
    """Those of one process. A context lives as long as a snapshot or a connection needs it."""

    def __init__(self) -> None:
        self._made: WeakValueDictionary[TlsSpec, TlsContext] = WeakValueDictionary()
        self.tickets = Tickets()

    def of(self, spec: TlsSpec) -> TlsContext:
        """ValueError: OpenSSL doesn't take it."""
        found = self._made.get(spec)
        if found is None:
            found = self._made[spec] = TlsContext(spec, self.tickets)
        return found
