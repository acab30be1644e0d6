"""What the admin API says, and how it says no."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from fastlb.config.limits import ADMIN_REQUEST_S
from fastlb.config.units import duration_ms, show_ms
from fastlb.errors import ConfigError, Problem


class Refusal(Exception):
    """A request that can't be done: `error` for people, `problems` with the fields."""

    def __init__(
        self, status: int, error: str, problems: Iterable[Problem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.problems = tuple(problems)
        self.headers = dict(headers or {})

    def answer(self) -> web.Response:
        body = {"error": self.error, "problems": [problem_json(one) for one in self.problems]}
        return answer(body, self.status, self.headers)


def refused(error: ConfigError) -> Refusal:
    """A configuration, or a part of one, that can't be used."""
    count = len(error.problems)
    what = "1 problem" if count == 1 else f"{count} problems"
    return Refusal(422, f"nothing was changed: {what}", error.problems)


def problem_json(problem: Problem) -> dict[str, Any]:
    return {
        "path": problem.path,
        "message": problem.message,
        "file": problem.file,
        "line": problem.line,
        "valid": list(problem.valid),
    }


def answer(
    data: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """What JSON can say and UTF-8 can't (half a surrogate pair) is escaped, as JSON has it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"
    return web.Response(
        body=text.encode("utf-8", "backslashreplace"), status=status,
        content_type="application/json", charset="utf-8", headers=headers,
    )


def json_object(text: str) -> dict[str, Any]:
    try:
        made = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else \
            "nested too deeply" if isinstance(error, RecursionError) else str(error)
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 0
        raise Refusal(
            400, "the body is not JSON", [Problem(why.lower(), line=line)]
        ) from None
    if not isinstance(made, dict):
        raise Refusal(400, "the body is not a JSON object", [Problem("not an object")])
    return made


def _refuse_constant(text: str) -> None:
    """NaN and Infinity, which Python reads and JSON hasn't."""
    raise ValueError(f"{text} is no JSON")


async def text_of(request: web.Request) -> str:
    """The body. Refusal if it doesn't come in time, or is no text."""
    try:
        data = await asyncio.wait_for(request.read(), ADMIN_REQUEST_S)
    except (web.RequestPayloadError, HttpProcessingError, ClientPayloadError) as error:
        why = " ".join(str(error).split())[:200] or "broken"
        raise Refusal(400, "the body can't be read", [Problem(why)]) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refusal(400, "the body is not UTF-8", [Problem("not UTF-8")]) from None


async def body_of(request: web.Request, valid: Mapping[str, type | tuple[type, ...]]
                  ) -> dict[str, Any]:
    """The JSON object of a request; `valid` are its keys and their types. No body is {}."""
    text = await text_of(request)
    if not text.strip():
        return {}
    made = json_object(text)
    problems = list(_misfits(made, valid))
    if problems:
        raise Refusal(422, "nothing was changed: the body doesn't fit", problems)
    return made


def time_of(values: Mapping[str, Any], key: str, ms_max: int | None = None) -> float | None:
    """Return the seconds that a duration says; None where it isn't given."""
    if key not in values:
        return None
    try:
        ms = duration_ms(values[key])
        if ms_max is not None and ms > ms_max:
            raise ValueError(f"{values[key]!r} is longer than {show_ms(ms_max)}")
    except ValueError as error:
        raise Refusal(422, "nothing was changed: a time doesn't fit", [Problem(str(error), key)]
                      ) from None
    return ms / 1000


_KINDS = {str: "a text", int: "a whole number", bool: "true or false", list: "a list",
          dict: "an object"}


def _misfits(
    made: dict[str, Any], valid: Mapping[str, type | tuple[type, ...]]
) -> Iterable[Problem]:
    for key, value in made.items():
        kinds = valid.get(key)
        if kinds is None:
            yield Problem(
                f"{key!r} is not a key here; one of: {', '.join(valid)}", key, valid=tuple(valid)
            )
            continue
        many = kinds if isinstance(kinds, tuple) else (kinds,)
        # True is an int to Python, and to nobody else.
        if not isinstance(value, many) or (isinstance(value, bool) and bool not in many):
            wanted = " or ".join(_KINDS[kind] for kind in many)
            yield Problem(f"{json.dumps(value)[:60]} is not {wanted}", key)
