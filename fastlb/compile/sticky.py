"""The cookies that bind clients to servers: made here once for every server, and looked up then."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from fastlb.config.sticky import EffectiveSticky

TOKEN_BYTES = 16        # of the 32 that HMAC-SHA-256 has: nobody makes 2^64 requests


@dataclass(frozen=True)
class StickySpec:
    cookie: bytes                       # its name
    tokens: Sequence[Sequence[bytes]]   # those that are believed, of each server
    fields: Sequence[bytes]             # the response field that binds to each server


def compile_sticky(sticky: EffectiveSticky, pool: str, servers: Sequence[str]) -> StickySpec:
    """A token says nothing about its server, and can't be made without the secret."""
    tokens = [[_token(secret, pool, name) for secret in sticky.secrets] for name in servers]
    return StickySpec(
        cookie=sticky.cookie.encode(),
        tokens=tokens,
        fields=[
            f"Set-Cookie: {sticky.cookie}={own[0].decode()}{sticky.attributes}\r\n".encode()
            for own in tokens
        ],
    )


def _token(secret: str, pool: str, server: str) -> bytes:
    text = f"fastlb sticky\0{pool}\0{server}".encode()
    digest = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:TOKEN_BYTES]).rstrip(b"=")
