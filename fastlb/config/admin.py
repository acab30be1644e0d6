"""`admin`: where the admin API listens, and who may use it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from fastlb.config import limits
from fastlb.config.address import ADMIN_HOW, HOST, PORT, Address, parse_bind
from fastlb.config.base import Mode, Model, as_list
from fastlb.config.hints import Found
from fastlb.config.units import show

PATTERN = rf"^http://(unix:/.+|{HOST}:{PORT})$"


def _bind(value: str) -> str:
    if not value.startswith("http://"):
        raise ValueError(f"{show(value)} is not an address for http; {ADMIN_HOW}")
    parse_bind(value)
    return value


def _binds(value: Any) -> Any:
    return [value] if isinstance(value, str) else as_list(value)


def _token(value: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]*", value):
        raise ValueError("a token has letters, digits and signs of ASCII, and no space")
    if len(value) < limits.SECRET_CHARACTERS_MIN:
        raise ValueError(
            f"a token has {limits.SECRET_CHARACTERS_MIN} characters at least;"
            " make one: openssl rand -hex 32"
        )
    return value


AdminBinds = Annotated[
    list[Annotated[str, AfterValidator(_bind)]],
    BeforeValidator(_binds),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": PATTERN},
                {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": PATTERN}},
            ]
        }
    ),
]


class Admin(Model):
    """Where the admin API, the metrics and the dashboard are. See docs/admin.md."""

    bind: AdminBinds
    """`http://unix:/PATH` or `http://HOST:PORT`, or a list. Other hosts than this one reach it only
    with a `token`."""
    token: Annotated[
        str, AfterValidator(_token), WithJsonSchema({"type": "string"}), limits.ADMIN_TOKEN
    ] | None = None
    """What requests have to carry: `Authorization: Bearer TOKEN`."""
    mode: Annotated[Mode, limits.ADMIN_MODE] = limits.ADMIN_MODE.default
    """The file mode of a unix socket, such as "0660"."""
    default_socket: Annotated[bool, limits.ADMIN_DEFAULT_SOCKET] = True
    """Whether `fastlb serve` also listens on the unix socket where `fastlb status` and other
    commands look for it."""


@dataclass(frozen=True)
class EffectiveAdmin:
    binds: tuple[Address, ...]
    token: str = ""             # "": none is asked for
    mode: int = int(limits.ADMIN_MODE.default, 8)
    default_socket: bool = True


def effective_admin(admin: Admin) -> EffectiveAdmin:
    return EffectiveAdmin(
        tuple(parse_bind(bind) for bind in admin.bind), admin.token or "", int(admin.mode, 8),
        admin.default_socket,
    )


def is_here(address: Address) -> bool:
    """Whether only programs of this machine reach it."""
    if address.host is None or address.host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return False


def check_admin(admin: Any) -> Iterator[Found]:
    """What one key says about another."""
    if not isinstance(admin, Mapping) or admin.get("token") is not None:
        return
    binds = admin.get("bind")
    single = isinstance(binds, str)
    many = binds if isinstance(binds, (list, tuple)) else ()
    for i, bind in enumerate([binds] if single else many):
        try:
            address = parse_bind(bind)
        except (ValueError, AttributeError, TypeError):
            continue                # told already
        if not is_here(address):
            path: tuple[str | int, ...] = ("admin", "bind") if single else ("admin", "bind", i)
            yield path, (
                f"{bind} can be reached from elsewhere, and whoever reaches it can change"
                ' everything: give a token = "${file:/etc/fastlb/token}", or bind 127.0.0.1'
            ), ()
