"""URLs that a configuration names, for what is fetched by HTTP."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastlb.config.units import show

HOW = 'write it like "https://lists.example.com/bad.txt"'


def check_url(text: str) -> str:
    """Return a URL that can be fetched. ValueError says why one can't."""
    wrong = ValueError(f"{show(text)} is not a URL; {HOW}")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise wrong
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise wrong
    if "@" in parts.netloc:
        raise ValueError("a URL here has no user and no password; give it without them")
    if parts.fragment:
        raise ValueError(f"{show(text)} has a fragment (#), which no server gets")
    return text


def shown_url(url: str) -> str:
    """Return a URL for people: without its query, where secrets are."""
    before, mark, _ = url.partition("?")
    return f"{before}?..." if mark else before
