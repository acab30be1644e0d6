"""How `fastlb check` shows values: aligned lines of a key, its value and where that came from."""

from __future__ import annotations

from fastlb.config.effective_http import HeaderOp
from fastlb.config.effective_tls import EffectiveCertificate, EffectiveServerTls, EffectiveTls
from fastlb.config.pages import EffectivePage
from fastlb.config.tls import day
from fastlb.config.units import show_ms


def line(key: str, value: str, origin: str) -> str:
    return f"  {key:<26} {value:<36} {origin}".rstrip()


def time(ms: int) -> str:
    return show_ms(ms) if ms else "none"


def switch(on: bool) -> str:
    return "true" if on else "false"


def keepalive(keepalive: tuple[int, int, int] | None) -> str:
    if keepalive is None:
        return "false"
    idle_s, interval_s, count = keepalive
    return f"{idle_s}s, then {count} x {interval_s}s"


def refresh(ms: int | None) -> str:
    return "ttl" if ms is None else show_ms(ms)


def both(tls: EffectiveTls | EffectiveServerTls) -> dict[str, str]:
    return {
        "min_version": tls.versions[0],
        "max_version": tls.versions[1],
        "ciphers": tls.ciphers,
        "cipher_suites": tls.cipher_suites,
        "curves": tls.curves,
        **({"key_log": tls.key_log} if tls.key_log else {}),
    }


def certificate(one: EffectiveCertificate) -> str:
    """Whom it names and until when; of its key only the algorithm."""
    parsed = one.certificate
    return (f"{one.file}: {', '.join(parsed.names) or 'no name'}; {parsed.algorithm};"
            f" expires {day(parsed.not_after)}{'; stapled' if one.ocsp else ''}")


def edits(ops: tuple[HeaderOp, ...]) -> str:
    return ", ".join(
        f"{op.op} {op.name}" + (f": {op.value}" if op.op != "remove" else "") for op in ops)


def pages(found: tuple[EffectivePage, ...]) -> str:
    shown: dict[str, None] = {}         # (a page may stand there twice: for JSON, and for others)
    for page in found:
        status = f"{page.status}xx" if page.status < 10 else str(page.status)
        shown[f"{status} {page.source or page.content_type}"] = None
    return ", ".join(shown)
