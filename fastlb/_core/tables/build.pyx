# How the core was built.
from fastlb._core.ext.atomic cimport FASTLB_BUILD_MODE

cdef extern from *:
    unsigned int CYTHON_HEX_VERSION


def build_info() -> dict[str, str]:
    """How this extension was built."""
    return {
        "build": FASTLB_BUILD_MODE.decode(),
        "cython": ".".join(str(CYTHON_HEX_VERSION >> shift & 255) for shift in (24, 16, 8)),
        "pollers": "epoll, poll",
    }
