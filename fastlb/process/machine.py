"""What this process was built with and runs on."""

from __future__ import annotations

import ctypes
import importlib.metadata
import platform
import re
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastlb._core.engine import bind_parser
from fastlb._core.tables.build import build_info
from fastlb._core.tables.certificates import NGHTTP2, OPENSSL
from fastlb._core.tables.compression import LIBRARIES
from fastlb.errors import ConfigError, Problem

if TYPE_CHECKING:
    from fastlb.config.effective import Effective

# The one whose llhttp was last checked; others of its kind are found out by themselves.
HTTPTOOLS_MIN = (0, 6, 4)     # older ones have llhttp 8 and 9.0, which read some heads in two ways
PIP_LINE = "pip install -U httptools==0.9.0"
TCP_ULP = 31                # linux/tcp.h
IPPROTO_MPTCP = 262         # linux/in.h
SYS_IO_URING_SETUP = 425    # the same number on every architecture
EPERM, ENOSYS = 1, 38


def facts() -> dict[str, str]:
    """Name and value of each, in the order to be shown."""
    info = build_info()
    return {
        "python": f"{platform.python_version()} ({platform.python_implementation()}, {_gil()})",
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "build": f"{info['build']}, Cython {info['cython']}",
        "poller": info["pollers"],
        "uvloop": _version("uvloop"),
        "llhttp": _llhttp(),
        "HTTP/2": _nghttp2(),
        "TLS": OPENSSL or "without TLS: OpenSSL's headers were missing when it was built",
        "compression": ", ".join(
            f"{coding} {version or 'no'}" for coding, version in LIBRARIES.items()),
        "kernel": ", ".join(
            f"{name} {'yes' if there else 'no'}" for name, there in kernel_features().items()
        ),
    }


def _gil() -> str:
    enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return "GIL" if enabled() else "free-threaded"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def check_parser(values: Effective) -> None:
    """ConfigError if there is http to be served and no parser for it."""
    http = next((one for one in values.listeners if one.http is not None), None)
    failure = bind_llhttp() if http is not None else ""
    if http is not None and failure:
        raise ConfigError([Problem(
            f"http needs llhttp, and {failure}; run: {PIP_LINE}", f"listeners.{http.name}.bind")])


def bind_llhttp() -> str:
    """Let the core call llhttp: "" when it can, else why not."""
    global _llhttp_failure
    if _llhttp_failure is None:
        try:
            from httptools.parser import parser

            _llhttp_failure = _too_old() or bind_parser(parser.__file__)
        except (ImportError, OSError) as error:
            _llhttp_failure = str(error)
    return _llhttp_failure


def _too_old() -> str:
    """llhttp of older ones takes heads that can be read in two ways."""
    found = _version("httptools")
    numbers = tuple(int(part) for part in re.findall(r"[0-9]+", found)[:3])
    if numbers and numbers < HTTPTOOLS_MIN:
        return f"httptools {found} is older than {'.'.join(map(str, HTTPTOOLS_MIN))}"
    return ""


_llhttp_failure: str | None = None


def _nghttp2() -> str:
    return f"nghttp2 {NGHTTP2}" if NGHTTP2 else "without: nghttp2's headers were missing when it" \
        " was built"


def _llhttp() -> str:
    """Whether llhttp can be called, in httptools' extension."""
    where = f"in httptools {_version('httptools')}"
    failure = bind_llhttp()
    return f"{where}: {failure}" if failure else f"{where}, callable"


def kernel_features() -> dict[str, bool]:
    """Each tried, not looked up: a container may forbid what the kernel has."""
    return {
        "SO_REUSEPORT": hasattr(socket, "SO_REUSEPORT"),
        "splice": True,             # Linux 2.6.17; older ones can't run a Python that we support
        "MPTCP": _can_open(IPPROTO_MPTCP),
        "kTLS": _has_ktls(),
        "io_uring": _has_io_uring(),
    }


def _can_open(protocol: int) -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol).close()
    except OSError:
        return False
    return True


def _has_ktls() -> bool:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as sock:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
            except OSError:
                return False
    return True


def _has_io_uring() -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(SYS_IO_URING_SETUP, 0, None)       # refused anyway: what counts is how
    return ctypes.get_errno() not in (ENOSYS, EPERM)
