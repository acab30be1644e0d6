"""`[networks.NAME]`, sets of networks; and `deny` and `allow`, the lists that name them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from fastlb.config import limits
from fastlb.config.base import Duration, Model, Switch
from fastlb.config.compare import TEXT, TEXT_OR_LIST, loose, one_or_list
from fastlb.config.hints import NAME, Found, hint
from fastlb.config.positions import Path
from fastlb.config.proxy_protocol import check_network
from fastlb.config.tls import Authorities, File
from fastlb.config.units import duration_ms, show, show_ms
from fastlb.config.web import check_url, shown_url


class Networks(Model):
    """A set of networks, from one source, for `deny`, `allow` and `match.client.network`."""

    cidrs: Annotated[
        list[Annotated[str, AfterValidator(check_network)]],
        BeforeValidator(one_or_list), Field(max_length=limits.MATCH_VALUES_MAX),
        loose({"anyOf": [TEXT, {"type": "array", "items": TEXT}]}), limits.NETWORKS_SOURCE,
    ] = Field(default_factory=list)
    """The networks themselves: `192.0.2.0/24`, or a list."""
    file: Annotated[
        str, Field(min_length=1, max_length=limits.TEXT_MAX), limits.NETWORKS_SOURCE
    ] | None = None
    """A file with a network, an address or a range (`192.0.2.7 - 192.0.2.99`) in each line, a
    million at most; `#` and `;` begin a comment. It is read again when it changes. A file that is
    broken or empty then keeps the set as it is, which is logged."""
    url: Annotated[
        str, AfterValidator(check_url), Field(min_length=1), limits.NETWORKS_SOURCE
    ] | None = None
    """An http or https URL of such a list, which may be gzipped. It is fetched at start, and again
    when it has changed."""
    refresh: Annotated[str, Duration(limits.NETWORKS_REFRESH)] = show_ms(
        limits.NETWORKS_REFRESH.default)
    """How often it is looked whether the file has changed. A URL is asked every 10 minutes unless
    told otherwise."""
    timeout: Annotated[str, Duration(limits.NETWORKS_TIMEOUT)] = show_ms(
        limits.NETWORKS_TIMEOUT.default)
    """How long fetching the URL may take."""
    ca: Annotated[Authorities, limits.NETWORKS_CA] | None = None
    """Whose certificate the URL's server may have (PEM)."""
    saved_copy: Annotated[
        str, Field(min_length=1, max_length=limits.TEXT_MAX), limits.NETWORKS_SAVED
    ] | None = None
    """A file that fastlb writes what it fetched to, and begins with when the URL can't be fetched
    at start."""
    required: Annotated[Switch, limits.NETWORKS_REQUIRED] = limits.NETWORKS_REQUIRED.default
    """Don't start without the list. With false, the set is empty until the URL can be fetched."""


@dataclass(frozen=True)
class EffectiveNetworks:
    name: str
    cidrs: tuple[str, ...]
    file: str                   # "": there is none
    refresh_ms: int
    url: str = ""
    timeout_ms: int = 0
    ca: bytes = field(default=b"", repr=False)
    saved_copy: str = ""
    required: bool = True
    origins: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def key(self) -> str:
        """The key of its source."""
        return "file" if self.file else "url" if self.url else "cidrs"

    def is_of(self, other: EffectiveNetworks) -> bool:
        """Whether both have the same source."""
        return (self.cidrs, self.file, self.url) == (other.cidrs, other.file, other.url)

    @property
    def source(self) -> str:
        """Its source for people; "": the configuration itself."""
        return self.file or shown_url(self.url)


def effective_networks(name: str, given: Networks) -> EffectiveNetworks:
    said = given.model_fields_set
    refresh_ms = duration_ms(given.refresh) if "refresh" in said or not given.url \
        else limits.NETWORKS_URL_REFRESH_MS
    return EffectiveNetworks(
        name, tuple(given.cidrs), given.file or "", refresh_ms, given.url or "",
        duration_ms(given.timeout), given.ca.data if isinstance(given.ca, File) else b"",
        given.saved_copy or "", given.required,
        {key: "networks" if key in said else "built in" for key in
         ("refresh", "timeout", "ca", "saved_copy", "required")})


# --- lists that name them ---


def _rule(value: Any) -> Any:
    if isinstance(value, (str, list, tuple)):
        return {"networks": one_or_list(value)}
    return value


def _check_entry(value: str) -> str:
    if is_network(value):
        return check_network(value)
    if not re.fullmatch(NAME, value):
        raise ValueError(f'{show(value)} is neither the name of a set nor a network such as'
                         ' "10.0.0.0/8"')
    return value


def is_network(text: str) -> bool:
    """Whether it is meant as a network, and not as the name of a set."""
    return bool(re.fullmatch(r"[0-9.]+(/.*)?|.*:.*", text))


class NetworkRule(Model):
    """Networks whose clients are denied, or alone are allowed."""

    networks: Annotated[
        list[Annotated[str, AfterValidator(_check_entry)]],
        BeforeValidator(one_or_list), Field(min_length=1, max_length=limits.MATCH_VALUES_MAX),
        loose(TEXT_OR_LIST),
    ]
    """Names of sets (`[networks.NAME]`), networks, or a list of both."""
    report: Annotated[Switch, limits.REPORT_LIST] = limits.REPORT_LIST.default
    """Count the clients that would be denied, and serve them."""


AnyNetworkRule = Annotated[
    NetworkRule, BeforeValidator(_rule),
    loose({"anyOf": [*TEXT_OR_LIST["anyOf"], {"type": "object"}]}), limits.NETWORK_RULE,
]


class AccessKeys(Model):
    """Keys of listeners about whom they serve."""

    deny: AnyNetworkRule | None = None
    """Networks whose clients are not served: names of `[networks.NAME]`, networks, or a list of
    both. Connections are closed before anything is read, and datagrams dropped."""
    allow: AnyNetworkRule | None = None
    """Networks whose clients alone are served; `deny` comes first."""
    max_connections_per_source: Annotated[
        int,
        Field(strict=True, ge=limits.SOURCE_CONNECTIONS.low, le=limits.SOURCE_CONNECTIONS.high),
        limits.SOURCE_CONNECTIONS,
    ] = limits.SOURCE_CONNECTIONS.default
    """Connections at a time of one IPv4 address, or of one /64 of IPv6, exact over all threads;
    others are closed at once. 0: no limit."""


def check_rule(path: Path, value: Any, known: Mapping[str, Any]) -> Iterator[Found]:
    """Yield what is wrong with a `deny` or an `allow` as it is written. `known` are the sets."""
    where, entries = path, value
    if isinstance(value, Mapping):
        where, entries = (*path, "networks"), value.get("networks")
    is_list = isinstance(entries, (list, tuple))
    for i, one in enumerate(entries if is_list else [entries]):
        if isinstance(one, str):
            yield from check_set_name((*where, i) if is_list else where, one, known)


def check_set_name(path: Path, name: str, known: Mapping[str, Any]) -> Iterator[Found]:
    if is_network(name) or not re.fullmatch(NAME, name) or name in known:
        return
    more = hint(name, tuple(known)) if known else f"; write a [networks.{name}] with a file"
    yield path, f"there is no set of networks {show(name)}{more}", tuple(known)


@dataclass(frozen=True)
class EffectiveRule:
    networks: tuple[str, ...]   # names of sets, and networks
    report: bool


def effective_rule(given: NetworkRule | None) -> EffectiveRule | None:
    return EffectiveRule(tuple(given.networks), given.report) if given is not None else None


def show_rule(rule: EffectiveRule | None) -> str:
    if rule is None:
        return "none"
    return ", ".join(rule.networks) + ("; reported only" if rule.report else "")
