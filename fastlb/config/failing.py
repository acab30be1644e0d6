"""The part of the model that is about servers that fail: what is tried again, who is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fastlb._core.tables.numbers import CAUSES
from fastlb.config import limits
from fastlb.config.base import Duration, Model, Switch, as_list
from fastlb.config.health import check_share, check_statuses
from fastlb.config.units import duration_ms, per_mille, show, show_ms, statuses


def _check_cause(value: str) -> str:
    if value in CAUSES:
        return value
    try:
        return check_statuses(value)
    except ValueError:
        valid = ", ".join(CAUSES)
        raise ValueError(f"{show(value)} is none of {valid}, and no status") from None


def _check_budget(value: str) -> str:
    per_mille(value, limits.RETRY_BUDGET_MOST)
    return value


class Retry(Model):
    """When a request, or a connection of tcp, is tried once more, on another server."""

    attempts: Annotated[
        int, Field(strict=True, ge=limits.RETRY_ATTEMPTS.low, le=limits.RETRY_ATTEMPTS.high),
        limits.RETRY_ATTEMPTS,
    ] = limits.RETRY_ATTEMPTS.default
    """Tries in all; 1: no retry. Where nobody else is left, an answer is passed on as it is."""
    on: Annotated[
        list[Annotated[str, AfterValidator(_check_cause)]],
        BeforeValidator(as_list),
        limits.RETRY_ON,
    ] = Field(default_factory=lambda: list(limits.RETRY_ON.default))
    """What else is tried again besides failed connects, for HTTP: `reset` (the connection ended
    before the response's head), `timeout` (no head within `response_header_timeout`), `invalid`
    (a response that isn't HTTP), and statuses such as "503" or "5xx"."""
    connect_failure: Annotated[Switch, limits.RETRY_CONNECT] = limits.RETRY_CONNECT.default
    """Whether another server is tried after a failed connect, whatever `on` lists."""
    non_idempotent: Annotated[Switch, limits.RETRY_NON_IDEMPOTENT] = False
    """Also requests such as POST that may do something twice. A body that was not sent
    along with the head is gone, and its request isn't tried again."""
    budget: Annotated[str, AfterValidator(_check_budget), limits.RETRY_BUDGET] = "20%"
    """Retries as a share of the requests of the last 10 s; 100 of each thread are free."""

    @model_validator(mode="after")
    def _check_connects(self) -> Retry:
        if not self.connect_failure and "connect_failure" in self.on \
                and "on" in self.model_fields_set:
            raise ValueError("`on` lists connect_failure, and connect_failure is false")
        return self


def _check_rate(value: str) -> str:
    if per_mille(value) == 0:
        raise ValueError("nothing fails less often than never: leave error_rate out instead")
    return value


class Outliers(Model):
    """When a server is ejected: left out because of what its connections or answers are like."""

    consecutive_failures: Annotated[
        int, Field(strict=True, ge=limits.OUTLIER_FAILURES.low, le=limits.OUTLIER_FAILURES.high),
        limits.OUTLIER_FAILURES,
    ] = limits.OUTLIER_FAILURES.default
    """Failures in a row: no connection, no answer, a broken one, or one of `statuses`; 0: never."""
    error_rate: Annotated[
        str, AfterValidator(_check_rate), limits.OUTLIER_ERROR_RATE
    ] | None = None
    """The share of requests, or connections of tcp, that failed or were answered 5xx."""
    latency: Annotated[
        float,
        Field(ge=limits.OUTLIER_LATENCY_LEAST, le=limits.OUTLIER_LATENCY_MOST),
        limits.OUTLIER_LATENCY,
    ] | None = None
    """A mean latency, up to an answer's head, so many times the median of the servers; of
    three at least."""
    interval: Annotated[str, Duration(limits.OUTLIER_INTERVAL)] = show_ms(
        limits.OUTLIER_INTERVAL.default
    )
    """How often `error_rate` and `latency` are looked at, each time of what happened since."""
    min_requests: Annotated[
        int,
        Field(strict=True, ge=limits.OUTLIER_REQUESTS.low, le=limits.OUTLIER_REQUESTS.high),
        limits.OUTLIER_REQUESTS,
    ] = limits.OUTLIER_REQUESTS.default
    """A server that got fewer in an interval isn't judged by these."""
    ejection_time: Annotated[str, Duration(limits.EJECTION_TIME)] = show_ms(
        limits.EJECTION_TIME.default
    )
    """For how long. Then one request finds out whether it is back; if not, or if it soon fails
    again, it is left out for as long as last time and this time more."""
    max_ejection_time: Annotated[str, Duration(limits.EJECTION_TIME_MOST)] = show_ms(
        limits.EJECTION_TIME_MOST.default
    )
    """The longest."""
    max_ejected: Annotated[str, AfterValidator(check_share), limits.MAX_EJECTED] = "50%"
    """Of the servers at a time; one at least, unless it is 0%, and never the last that is up."""
    statuses: Annotated[
        list[Annotated[str, AfterValidator(check_statuses)]],
        BeforeValidator(as_list),
        limits.OUTLIER_STATUSES,
    ] = Field(default_factory=lambda: list(limits.OUTLIER_STATUSES.default))
    """Answers that are failures."""


def _check_percentile(value: str) -> str:
    n = per_mille(value)
    if not 500 <= n <= 999:
        raise ValueError(f"{show(value)} is not from 50% to 99.9%")
    return value


def _check_hedge_budget(value: str) -> str:
    if per_mille(value) == 0:
        raise ValueError("a budget of nothing: leave hedge out instead")
    return value


class Hedge(Model):
    """When a request that waits for its answer is sent to a second server too; the first
    answer counts. GET, HEAD, OPTIONS and TRACE only."""

    delay: Annotated[str, Duration(limits.HEDGE_DELAY), limits.HEDGE_DELAY] | None = None
    """After so long."""
    percentile: Annotated[
        str, AfterValidator(_check_percentile), limits.HEDGE_PERCENTILE
    ] | None = None
    """After what this share of the last answers took at most; from the 64th answer of a thread on,
    rounded up to 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20 ms and so on."""
    budget: Annotated[str, AfterValidator(_check_hedge_budget), limits.HEDGE_BUDGET] = "10%"
    """Second tries as a share of the requests of the last 10 s."""


# What a gRPC call's own timeout is rounded up to: DEADLINES of the core. A client that has the same
# timeout is the first to give up, and tells us.
DEADLINES_MS = (
    10, 20, 50, 100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 4000, 5000, 7000, 10_000, 15_000,
    20_000, 30_000, 45_000, 60_000, 90_000, 120_000, 180_000, 300_000, 600_000, 1_200_000,
    1_800_000, 3_600_000,
)
# What a percentile is rounded up to, in ms: DELAYS of the core.
HEDGE_DELAYS_MS = (
    1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 100, 125, 160, 200, 250, 320, 400,
    500, 640, 800, 1000, 1250, 1600, 2000, 2500, 3200, 4000, 5000, 6400, 8000, 10_000,
)


@dataclass(frozen=True)
class EffectiveHedge:
    delay_ms: int               # 0: by percentile
    percentile: int             # of 1000 answers; 0: a fixed delay
    budget: int                 # of 1000 requests
    delays_ms: tuple[int, ...] = HEDGE_DELAYS_MS


def effective_hedge(hedge: Hedge) -> EffectiveHedge:
    return EffectiveHedge(
        delay_ms=duration_ms(hedge.delay) if hedge.delay else 0,
        percentile=per_mille(hedge.percentile) if hedge.percentile else 0,
        budget=per_mille(hedge.budget),
    )


class Limits(Model):
    """How much a pool gets at a time, exact over all threads, and who waits for a place."""

    max_requests: Annotated[
        int,
        Field(strict=True, ge=limits.MAX_REQUESTS_OF_POOL.low, le=limits.MAX_REQUESTS_OF_POOL.high),
        limits.MAX_REQUESTS_OF_POOL,
    ] | None = None
    """Requests under way, or connections of tcp and upgrades; no limit if not given."""
    max_pending: Annotated[
        int, Field(strict=True, ge=limits.MAX_PENDING.low, le=limits.MAX_PENDING.high),
        limits.MAX_PENDING,
    ] = limits.MAX_PENDING.default
    """Those that wait for a place, here or at a server with `max_connections`; 0: nobody waits."""
    max_retries: Annotated[
        int, Field(strict=True, ge=limits.MAX_RETRIES.low, le=limits.MAX_RETRIES.high),
        limits.MAX_RETRIES,
    ] | None = None
    """Requests, or connections of tcp, that are being retried at a time; beyond that a failure is
    the answer. No limit but the budget's if not given."""
    pending_timeout: Annotated[str, Duration(limits.PENDING_TIMEOUT)] = show_ms(
        limits.PENDING_TIMEOUT.default
    )
    """How long they wait; then 503, or of tcp the end."""
    retry_after: Annotated[str, Duration(limits.RETRY_AFTER)] = show_ms(limits.RETRY_AFTER.default)
    """The Retry-After of a 503 of ours, in whole seconds; 0s: none."""


@dataclass(frozen=True)
class EffectiveLimits:
    in_flight_max: int = 0      # 0: no limit
    pending_max: int = 0        # 0: nobody waits
    retries_max: int = 0        # 0: no limit
    pending_timeout_ms: int = limits.PENDING_TIMEOUT.default
    retry_after_s: int = limits.RETRY_AFTER.default // 1000


def effective_limits(given: Limits) -> EffectiveLimits:
    return EffectiveLimits(
        in_flight_max=given.max_requests or 0,
        pending_max=given.max_pending,
        retries_max=given.max_retries or 0,
        pending_timeout_ms=duration_ms(given.pending_timeout),
        retry_after_s=min(-(-duration_ms(given.retry_after) // 1000), 65_535),
    )


@dataclass(frozen=True)
class EffectiveRetry:
    attempts: int
    on: int                     # CAUSES
    statuses: tuple[tuple[int, int], ...]
    non_idempotent: bool
    bounded: bool
    budget: int                 # of 1000 requests
    reserve: int = limits.RETRY_RESERVE
    on_text: str = ""           # for people


@dataclass(frozen=True)
class EffectiveOutliers:
    failures: int
    ejection_ms: int
    ejection_max_ms: int
    share_max: int              # of 1000 servers
    error_rate: int             # of 1000 requests; 0: not looked at
    latency: float              # times the median; 0: not looked at
    interval_s: float
    requests_min: int
    statuses: tuple[tuple[int, int], ...]


def effective_retry(retry: Retry) -> EffectiveRetry:
    budget = per_mille(retry.budget, limits.RETRY_BUDGET_MOST)
    tried = ["connect_failure"] if retry.connect_failure else []
    tried += [one for one in retry.on if one != "connect_failure"]
    return EffectiveRetry(
        attempts=retry.attempts,
        on=sum({CAUSES[one] for one in tried if one in CAUSES}),
        statuses=tuple(statuses(one) for one in tried if one not in CAUSES),
        non_idempotent=retry.non_idempotent,
        bounded=budget < 1000 * (retry.attempts - 1),
        budget=budget,
        on_text=", ".join(tried),
    )


def effective_outliers(outliers: Outliers) -> EffectiveOutliers:
    ejection_ms = duration_ms(outliers.ejection_time)
    return EffectiveOutliers(
        failures=outliers.consecutive_failures,
        ejection_ms=ejection_ms,
        ejection_max_ms=max(ejection_ms, duration_ms(outliers.max_ejection_time)),
        share_max=per_mille(outliers.max_ejected),
        error_rate=per_mille(outliers.error_rate) if outliers.error_rate else 0,
        latency=outliers.latency or 0.0,
        interval_s=duration_ms(outliers.interval) / 1000,
        requests_min=outliers.min_requests,
        statuses=tuple(statuses(one) for one in outliers.statuses),
    )


RETRY = effective_retry(Retry())
OUTLIERS = effective_outliers(Outliers())
LIMITS = effective_limits(Limits())
