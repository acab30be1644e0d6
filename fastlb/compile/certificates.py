"""How listeners and pools speak TLS, as the core wants it. What is the same is made once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from weakref import WeakValueDictionary

from fastlb._core.tables.certificates import Certificate
from fastlb._core.tables.contexts import Tickets, TlsContext
from fastlb.config.effective_tls import EffectiveCertificate, EffectiveServerTls, EffectiveTls
from fastlb.config.units import show
from fastlb.errors import ConfigError, Problem

VERSIONS = {"1.2": 0x0303, "1.3": 0x0304}
VERIFY = {"none": 0, "optional": 1, "required": 2}


@dataclass(frozen=True)
class CertificateSpec:
    """What is shown for some names: certificates with keys of several kinds (RSA and ECDSA), each
    with its OCSP response, or none."""

    names: tuple[bytes, ...]
    certificates: tuple[tuple[Certificate, bytes], ...]


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
    verify: int                 # 0: no certificate is asked for; 1: there may be one, 2: has to be
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


def by_names(certificates: tuple[EffectiveCertificate, ...]) -> tuple[CertificateSpec, ...]:
    """Those of the same names, and other kinds of keys, stand for each other."""
    n: dict[tuple[tuple[str, ...], str], int] = {}      # by names and kind of key
    found: dict[tuple[tuple[str, ...], int], list[EffectiveCertificate]] = {}
    for one in certificates:
        names, kind = tuple(sorted(one.certificate.names)), one.certificate.algorithm.split()[0]
        # The first of a kind stands beside the first of another one, and so on.
        nth = n[names, kind] = n.get((names, kind), 0) + 1
        found.setdefault((names, nth), []).append(one)
    return tuple(
        CertificateSpec(
            tuple(name.encode() for name in names),
            tuple((one.certificate, one.ocsp) for one in others),
        )
        for (names, _), others in found.items()
    )


def listener_spec(name: str, tls: EffectiveTls) -> TlsSpec:
    """Sessions go on in a listener of the same name, that asks the same of its clients."""
    return TlsSpec(
        is_listener=True,
        certificates=by_names(tls.certificates),
        alpn=wire(tls.alpn),
        versions=(VERSIONS[tls.versions[0]], VERSIONS[tls.versions[1]]),
        ciphers=tls.ciphers.encode(),
        cipher_suites=tls.cipher_suites.encode(),
        curves=tls.curves.encode(),
        verify=VERIFY[tls.client_auth],
        depth=tls.client_depth,
        authorities=tls.client_ca,
        revocations=tls.client_crl,
        tickets=tls.tickets is not None,
        refuses=tls.refuses,
        scope=scope(name, tls.client_auth, tls.client_ca, tls.client_crl, tls.client_depth),
        key_log=tls.key_log,
    )


def pool_spec(name: str, tls: EffectiveServerTls) -> TlsSpec:
    own = (tls.certificate,) if tls.certificate is not None else ()
    return TlsSpec(
        is_listener=False,
        certificates=by_names(own),
        alpn=wire(tls.alpn),
        versions=(VERSIONS[tls.versions[0]], VERSIONS[tls.versions[1]]),
        ciphers=tls.ciphers.encode(),
        cipher_suites=tls.cipher_suites.encode(),
        curves=tls.curves.encode(),
        verify=VERIFY["required" if tls.verify else "none"],
        depth=-1,
        authorities=tls.ca,
        revocations=tls.crl,
        tickets=False,
        refuses=False,
        scope=scope(name),
        key_log=tls.key_log,
    )


class Contexts:
    """Those of one process. A context lives as long as a snapshot or a connection needs it."""

    def __init__(self) -> None:
        self._made: WeakValueDictionary[TlsSpec, TlsContext] = WeakValueDictionary()
        self.tickets = Tickets()

    def of(self, spec: TlsSpec, where: str) -> TlsContext:
        """ConfigError: OpenSSL doesn't take what `where` says, or its key log can't be opened."""
        found = self._made.get(spec)
        if found is None:
            try:
                found = self._made[spec] = TlsContext(spec, self.tickets)
            except OSError as error:
                raise ConfigError([unopened_key_log(spec.key_log, where, error)]) from None
            except ValueError as error:
                raise ConfigError([Problem(str(error), f"{where}.tls")]) from None
        return found


def unopened_key_log(path: str, where: str, error: OSError) -> Problem:
    what = f"{show(path)} can't be opened: {(error.strerror or '').lower()}"
    return Problem(what, f"{where}.tls.key_log")
