"""Text of a file made into a Config."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fastlb.config import limits
from fastlb.config.bounds import oversized_key
from fastlb.config.check import checked
from fastlb.config.files import read_file
from fastlb.config.model import Config
from fastlb.config.positions import dotted, positions
from fastlb.config.units import show
from fastlb.errors import ConfigError, Problem

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TOML = re.compile(r"\s*(\[|[\w.-]+\s*=)")      # text that is hardly a path
_AT = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
# What the parser says, for those who don't know TOML by heart.
SAID = {
    "Illegal character '\\n'": "a text has no closing quote on its line",
    "Invalid value": "invalid value; a text has quotes around it",
    "Expected '=' after a key in a key/value pair": "a line is KEY = VALUE, or [TABLE]",
}


def load(path: str | os.PathLike[str]) -> Config:
    """The configuration of a TOML file. ConfigError has all that is wrong with it."""
    name = os.fsdecode(path)
    try:
        data, _ = read_file(name, limits.FILE_BYTES_MAX)
    except (OSError, ValueError) as error:      # ValueError: a path with a zero byte
        why = (getattr(error, "strerror", None) or str(error)).lower()
        raise ConfigError([Problem(f"can't be read: {why}", file=name)]) from None
    if len(data) > limits.FILE_BYTES_MAX:
        size = limits.FILE_BYTES_MAX >> 20
        raise ConfigError([Problem(f"larger than {size} MiB: not a configuration", file=name)])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError([Problem("not UTF-8", file=name, line=line)]) from None
    return loads(text, name)


def read(config: Config | str | os.PathLike[str]) -> tuple[Config, str | None]:
    """The configuration of a file, of TOML text (with a line break in it), or as it is; and the
    file's path."""
    if isinstance(config, Config):
        return config, None
    if isinstance(config, str) and "\n" in config:
        return loads(config), None
    if not isinstance(config, (str, bytes, os.PathLike)):
        raise TypeError(
            f"a {type(config).__name__} is no configuration: give a path, TOML text or a"
            " fastlb.Config; fastlb.Config.build({...}) makes one of a dict")
    if isinstance(config, str) and _TOML.match(config) and not os.path.exists(config):
        raise ConfigError([Problem(
            f"there is no file {show(config)}; if it is TOML text, write it with a line break")])
    return load(config), os.fsdecode(config)


def located(problems: Iterable[Problem], name: str) -> ConfigError:
    """Problems that were found after a file was read, with its name and their lines."""
    try:
        text = read_file(name, limits.FILE_BYTES_MAX)[0].decode("utf-8-sig")
    except OSError:
        text = ""                   # (a pipe is read once)
    lines = {dotted(path): line for path, line in positions(text).items()}
    found = []
    for problem in problems:
        line = lines.get(problem.path, lines.get(problem.path.rpartition(".")[0], 0))
        found.append(replace(problem, file=name, line=line))
    return ConfigError(found)


def loads(text: str, name: str = "<string>") -> Config:
    """The configuration of TOML text; `name` is what problems call it."""
    text = text.replace("\r\n", "\n")
    oversized = oversized_key(text)
    if oversized is not None:
        raise ConfigError([Problem(oversized[1], file=name, line=oversized[0])])
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax(text, name, str(error))]) from None
    except RecursionError:
        raise ConfigError([Problem("nested too deeply", file=name)]) from None
    except ValueError:          # of int(), which reads 4300 digits at most
        raise ConfigError([Problem("a number has too many digits", file=name)]) from None
    return checked(raw, name, positions(text))


def _syntax(text: str, name: str, message: str) -> Problem:
    found = _AT.search(message)
    line = text.count("\n") + 1
    if found and found[1]:
        line = int(found[1])
    message = _AT.sub("", message)
    message = SAID.get(message, message)
    if message.startswith(("Cannot declare", "Cannot overwrite")):
        message = f"{_header(text, line)} stands here a second time: names are given once"
    return Problem(f"not TOML: {message[0].lower()}{message[1:]}", file=name, line=line)


def _header(text: str, line: int) -> str:
    lines = text.splitlines()
    return lines[line - 1].strip() if 0 < line <= len(lines) else "a key"
