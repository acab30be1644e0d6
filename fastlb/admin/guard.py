"""Who may ask: tokens, and pages of other sites in a browser that runs here."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from fastlb.admin.answers import Refusal, refused
from fastlb.config.admin import EffectiveAdmin
from fastlb.config.limits import ADMIN_REQUEST_S
from fastlb.errors import ConfigError, Problem

log = logging.getLogger("fastlb.admin")

# Without a token: what says nothing but whether we are alive, and the page that asks for one.
OPEN_TO_ALL = {"/healthz", "/readyz"}
PAGE = {"/", "/dashboard.js", "/dashboard.css"}
BODIES = {"application/json", "application/toml", "text/toml"}
HEADERS = {
    "server": "fastlb",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """The middleware that every request goes through."""

    def __init__(self) -> None:
        self._token = b""
        self._hosts: set[str] = set()

    def admit(self, admin: EffectiveAdmin) -> None:
        self._token = admin.token.encode()
        self._hosts = {"localhost", *(a.host.lower() for a in admin.binds if a.host)}

    def middleware(self) -> Middleware:
        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            made = await self._answered(request, handler)
            if not made.prepared:
                for name, value in HEADERS.items():
                    made.headers.setdefault(name, value)
            return made

        return guarded

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._check(request)
            return await handler(request)
        except Refusal as error:
            return error.answer()
        except ConfigError as error:
            return refused(error).answer()
        except web.HTTPException as error:
            return _in_json(request, error).answer()
        except (asyncio.TimeoutError, TimeoutError):
            return Refusal(408, f"the body did not come within {ADMIN_REQUEST_S:g} s").answer()
        except (ConnectionError, asyncio.CancelledError):
            raise                       # nobody is there any more
        except Exception:
            log.exception("%s %s", request.method, request.path)
            return Refusal(500, "a bug in fastlb: its log has more").answer()

    def _check(self, request: web.Request) -> None:
        if request.path in OPEN_TO_ALL:
            return
        if self._token:
            if request.path not in PAGE:
                self._check_token(request)
        elif not self._is_ours(request.host):
            # A name that somebody else's DNS points at us: DNS rebinding.
            raise Refusal(
                403, f"the Host is {request.host!r}, which is not this address",
                [Problem("not an address of the admin API", "host", valid=tuple(self._hosts))],
            )
        self._check_site(request)
        if request.method not in ("GET", "HEAD") and request.can_read_body \
                and request.content_type not in BODIES:
            # A form or a text of another site's page needs no permission; JSON does.
            raise Refusal(
                415, f"the body is {request.content_type}",
                [Problem("not a type of body that is read", "content-type",
                         valid=tuple(sorted(BODIES)))],
            )

    def _check_token(self, request: web.Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(errors="replace"), self._token)
        if scheme.lower() != "bearer" or not right:
            raise Refusal(
                401, "a token is needed: Authorization: Bearer TOKEN",
                [Problem("missing" if not given else "not the token", "authorization")],
                {"www-authenticate": 'Bearer realm="fastlb"'},
            )

    def _check_site(self, request: web.Request) -> None:
        site = request.headers.get("sec-fetch-site", "none")
        linked = request.path in PAGE and request.headers.get("sec-fetch-mode") == "navigate"
        origin = request.headers.get("origin")
        theirs = site not in ("same-origin", "none") and not linked
        if origin is not None and origin.partition("://")[2] != request.host:
            theirs = True
        if theirs:
            raise Refusal(403, "the page of another site asked for this",
                          [Problem(f"{origin or site} is not this site", "origin")])

    def _is_ours(self, host: str) -> bool:
        name = host.lower()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        else:
            name = name.rpartition(":")[0] if ":" in name else name
        if name in self._hosts:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def _in_json(request: web.Request, error: web.HTTPException) -> Refusal:
    """aiohttp's own refusals, in our form."""
    told = {
        404: f"there is nothing at {request.path}; GET /api lists what there is",
        405: f"{request.method} can't be done with {request.path}",
        413: "the body is too large",
    }
    headers = {"allow": error.headers["allow"]} if "allow" in error.headers else {}
    return Refusal(error.status, told.get(error.status, error.reason), headers=headers)
