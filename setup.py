"""Builds the compiled modules: one extension for each .pyx below fastlb/_core.

FASTLB_BUILD picks how: release (the default), debug, asan or gcov.
FASTLB_PROBES=1 adds the test-only extensions, tests/**/*.pyx, to builds in place.

What is stale is found by content and not by date: a module is built again when its own text, a .pxd
that it reaches by cimport, a header, a flag, Cython or the Python that it is built for has changed.
"""

import sys

if sys.platform != "linux":
    raise SystemExit(f"fastlb can only be built on Linux, and this is {sys.platform}.")
if sys.version_info < (3, 10):  # noqa: UP036 - pip knows requires-python, `python setup.py` doesn't
    raise SystemExit(f"fastlb needs Python 3.10 or newer, and this is {sys.version.split()[0]}.")

import fcntl
import gzip
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
HEADERS = "fastlb/_core/c"

FLAGS = [
    "-fvisibility=hidden",
    "-fno-semantic-interposition",  # with hidden symbols: calls inside a module are direct
    "-fno-strict-aliasing",  # sockaddr and Cython's object structs are read through casts
    "-Wall",
    "-Wextra",
    "-Wno-unused-function",  # a module gets every inline function of the .pxd files it cimports
    "-Wno-unused-parameter",  # CPython's calling conventions hand over more than a function wants
    "-Wno-unused-but-set-variable",  # Cython keeps the bound of a loop that has a constant one
    "-Wno-missing-field-initializers",  # Cython's type tables leave later fields to C's zero
    "-Wno-cast-function-type",  # PyCFunction and its kin are cast into each other by design
]
MODES = {
    "release": {"compile": ["-O3", "-g1", "-fno-plt"], "link": []},
    "debug": {"compile": ["-Og", "-g3", "-UNDEBUG"], "link": []},
    "asan": {
        "compile": [
            "-O1",
            "-g",
            "-UNDEBUG",
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=undefined",
            "-fno-wrapv",  # Python's own flags ask for wrapping, and overflow would go unseen
            "-fno-omit-frame-pointer",
        ],
        "link": ["-fsanitize=address,undefined"],
    },
    # Several engines count at once, and a lost update of a counter could hide a line.
    "gcov": {
        "compile": ["-O0", "-g", "-UNDEBUG", "--coverage", "-fprofile-update=atomic"],
        "link": ["--coverage"],
    },
}
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "freethreading_compatible": True,
}


def build_mode():
    mode = os.environ.get("FASTLB_BUILD") or "release"
    if mode not in MODES:
        raise SystemExit(f"FASTLB_BUILD is {mode!r}, and must be one of: {', '.join(MODES)}.")
    return mode


def modules():
    """The .pyx files, relative to the root, in order."""
    found = list(ROOT.glob("fastlb/_core/**/*.pyx"))
    if os.environ.get("FASTLB_PROBES") == "1":
        found += ROOT.glob("tests/**/*.pyx")
    return sorted(str(path.relative_to(ROOT)) for path in found)


# What a build goes on without: the macro that says it is there, the module that has its functions,
# pkg-config's name with the oldest version, what it is for, and Debian's package.
LIBRARIES = (
    ("FASTLB_TLS", "openssl", "openssl >= 3", "TLS", "libssl-dev"),
    ("FASTLB_H2", "nghttp2", "libnghttp2 >= 1.52", "HTTP/2", "libnghttp2-dev"),
    ("FASTLB_ZSTD", "coding", "libzstd >= 1.4", "zstd", "libzstd-dev"),
    ("FASTLB_BROTLI", "coding", "libbrotlienc >= 1", "brotli", "libbrotli-dev"),
    ("FASTLB_ZLIB", "coding", "zlib >= 1.2", "gzip", "zlib1g-dev"),
)
LEFT_OUT = []       # a sentence for each that is not there, for who builds


@cache
def library(macro):
    """How a library is compiled with and linked, as pkg-config says; None: it is left out."""
    _, _, wanted, what, package = next(one for one in LIBRARIES if one[0] == macro)
    if os.environ.get(macro) == "0":
        return None
    tool = os.environ.get("PKG_CONFIG") or "pkg-config"
    try:
        subprocess.run([tool, "--exists", wanted], check=True, capture_output=True)
        said = [
            subprocess.run([tool, flag, wanted.split()[0]], check=True, capture_output=True,
                           text=True)
            for flag in ("--cflags", "--libs")
        ]
    except (OSError, subprocess.CalledProcessError):
        LEFT_OUT.append(f"fastlb: {wanted} with its headers was not found: building without {what} "
                        f"(on Debian: apt-get install {package} pkg-config)")
        return None
    return [shlex.split(one.stdout) for one in said]


def extension(source):
    mode = build_mode()
    macros = [("FASTLB_BUILD_MODE", f'"{mode}"')]
    compiled, linked, text = [], [], (ROOT / source).read_text()
    for macro, module, *_ in LIBRARIES:
        found = library(macro)
        if found is None:
            continue
        macros.append((macro, "1"))
        compiled += found[0]
        if f"fastlb._core.ext.{module} " in text:   # others know its types, and call nothing
            linked += found[1]
    if mode != "release":
        macros.append(("FASTLB_ASSERTIONS", "1"))
    return Extension(
        source.removesuffix(".pyx").replace("/", "."),
        [source],
        include_dirs=[HEADERS],
        define_macros=macros,
        extra_compile_args=MODES[mode]["compile"] + FLAGS + compiled,
        extra_link_args=MODES[mode]["link"] + linked,
    )


_CIMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+cimport\s+([\w., ]*)|cimport\s+([\w., ]+))", re.M)


def _cimported(path):
    """The .pxd files of ours that a file names in its cimports."""
    for package, names, whole in _CIMPORT.findall(path.read_text()):
        candidates = [package, *(f"{package}.{name.strip()}" for name in names.split(","))]
        for module in candidates if package else whole.split(","):
            pxd = ROOT / (module.split(" as ")[0].strip().replace(".", "/") + ".pxd")
            if pxd.is_file():
                yield pxd


def closure(source):
    """Every file that the extension made of `source` is compiled from."""
    found = set((ROOT / HEADERS).glob("*.h"))
    waiting = [ROOT / source]
    own = (ROOT / source).with_suffix(".pxd")
    if own.is_file():
        waiting.append(own)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_cimported(path))
    return sorted(found)


def _key(ext, compiler):
    parts = [
        version("Cython"),
        sys.version,
        sysconfig.get_config_var("EXT_SUFFIX"),
        compiler,
        [os.environ.get(name) for name in ("CFLAGS", "CPPFLAGS", "LDFLAGS")],
        DIRECTIVES,
        ext.define_macros,
        ext.extra_compile_args,
        ext.extra_link_args,
    ]
    digest = hashlib.sha256(repr(parts).encode())
    for path in closure(ext.sources[0]):
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _end_line_marks(path):
    """Let Cython's line marks hold for one line of C each.

    It marks every line that it makes from a .pyx, and none of a module's start-up that follows
    them; gcov would count that for the lines of the .pyx below the last mark.
    """
    made, marked = [], False
    for number, line in enumerate(path.read_text().splitlines(), 2):
        made.append(line)
        if line.startswith("#line"):
            marked = True
        elif marked:
            made.append(f'#line {number} "{path}"')
            marked = False
    path.write_text("\n".join(made) + "\n")


@contextmanager
def _alone(path):
    """One build at a time in a tree: who comes second finds the work done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_tools(compiler):
    if shutil.which(shlex.split(compiler)[0]) is None:
        raise SystemExit(
            f"fastlb needs a C compiler to build, and there is no {shlex.split(compiler)[0]}: "
            "install one first (on Debian: apt-get install gcc libc6-dev)."
        )
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        raise SystemExit(
            "fastlb needs Python's headers to build, and there is no Python.h: "
            "install them first (on Debian: apt-get install python3-dev)."
        )


class Translations:
    """The C of modules, by the content of all that they are made of, in the directory that
    FASTLB_TRANSLATIONS names: what one build has translated, no other one has to."""

    FILES_MAX = 1500        # of some 60 KB each; the oldest go

    def __init__(self, annotate):
        self._annotate = annotate
        self._kept = {}         # by source: pairs of what is kept and where it belongs
        place = os.environ.get("FASTLB_TRANSLATIONS")
        self._place = Path(place) if place else None

    def _files(self, source, made):
        digest = hashlib.sha256(repr([version("Cython"), DIRECTIVES, source]).encode())
        for path in closure(source):
            if path.suffix != ".h":
                digest.update(f"\0{path.relative_to(ROOT)}\0".encode())
                digest.update(path.read_bytes())
        kept = self._place / digest.hexdigest()
        yield kept.with_suffix(".c.gz"), made
        if self._annotate:
            yield kept.with_suffix(".html.gz"), made.with_suffix(".html")

    def fetch(self, source, made):
        """Whether it was there, and is where it belongs now."""
        if self._place is None:
            return False
        # Named by what is there before it is translated: a change meanwhile is another name.
        files = self._kept[source] = list(self._files(source, made))
        if not all(kept.is_file() for kept, _ in files):
            return False
        made.parent.mkdir(parents=True, exist_ok=True)
        for kept, place in files:
            place.write_bytes(gzip.decompress(kept.read_bytes()))
            os.utime(kept)
        return True

    def _keep(self, source):
        self._place.mkdir(parents=True, exist_ok=True)
        for kept, place in self._kept[source]:
            fresh = kept.with_suffix(f".{os.getpid()}")
            fresh.write_bytes(gzip.compress(place.read_bytes(), 1))
            fresh.replace(kept)

    def keep_all(self, translated):
        if self._place is None:
            return
        for source, made in translated:
            if list(self._files(source, made)) == self._kept[source]:
                self._keep(source)
        by_age = sorted(self._place.glob("*.gz"), key=lambda path: -path.stat().st_mtime)
        for path in by_age[self.FILES_MAX:]:
            path.unlink(missing_ok=True)


class BuildStale(build_ext):
    """Builds the modules that are stale, and nothing where none is."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or min(len(os.sched_getaffinity(0)), 8)
        # A venv's own, which is empty, would make each venv another compile to ccache.
        own = Path(sys.exec_prefix, "include")
        if own.is_dir() and not any(path.is_file() for path in own.rglob("*")):
            self.include_dirs = [name for name in self.include_dirs if Path(name) != own]
        home = Path("build") / f"dev-{sys.implementation.cache_tag}"
        # The same for every kind of build: ccache knows a file by its path too.
        self.translations = home / "temp" / "c"
        if self.inplace or self.editable_mode:
            # Apart from what wheels are made of: they take all that lies in build_lib.
            self.build_lib, self.build_temp = str(home / "lib"), str(home / "temp")
        else:
            self.distribution.ext_modules[:] = [
                ext for ext in self.distribution.ext_modules if ext.name.startswith("fastlb.")
            ]
            self.extensions = self.distribution.ext_modules

    def run(self):
        os.chdir(ROOT)
        compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
        with _alone(Path("build/lock")):
            stamp = Path(self.build_temp) / "stamp.json"
            done = json.loads(stamp.read_text()) if stamp.is_file() else {}
            keys = {ext.name: _key(ext, compiler) for ext in self.extensions}
            everything, self.extensions = (
                self.extensions,
                [
                    ext
                    for ext in self.extensions
                    if done.get(ext.name) != keys[ext.name] or not self._built(ext).is_file()
                ],
            )
            if self.extensions:
                _check_tools(compiler)
                print(*LEFT_OUT, sep="\n", end="\n" if LEFT_OUT else "", file=sys.stderr)
                for ext in self.extensions:
                    done.pop(ext.name, None)
                stamp.parent.mkdir(parents=True, exist_ok=True)
                stamp.write_text(json.dumps(done))
                self._translate()
                inplace, self.inplace, self.force = self.inplace, False, True
                super().run()
                self.inplace = inplace
                stamp.write_text(json.dumps({**done, **keys}, indent=1))
            self.extensions = everything
            if self.inplace:
                self.copy_extensions_to_source()

    def _built(self, ext):
        return Path(self.build_lib) / self.get_ext_filename(self.get_ext_fullname(ext.name))

    def _translate(self):
        """From Cython to C, but for what the cache has."""
        from Cython.Build import cythonize

        annotate = os.environ.get("FASTLB_ANNOTATE") == "1"
        cached = Translations(annotate)
        missing = []
        for ext in self.extensions:
            source = ext.sources[0]
            ext.sources = [str((self.translations / source).with_suffix(".c"))]
            if not cached.fetch(source, Path(ext.sources[0])):
                missing.append((source, Path(ext.sources[0])))
        cythonize(
            [extension(source) for source, _ in missing],
            build_dir=str(self.translations),
            compiler_directives=DIRECTIVES,
            emit_linenums=True,
            annotate=annotate,
            nthreads=self.parallel if len(missing) > 1 else 0,
            force=True,
            quiet=True,
        )
        cached.keep_all(missing)
        if build_mode() == "gcov":
            for ext in self.extensions:
                _end_line_marks(Path(ext.sources[0]))

    def copy_extensions_to_source(self):
        """Replaced in one step: a process that has the old file mapped goes on with it."""
        for ext in self.extensions:
            built = self._built(ext)
            place = ROOT / Path(*ext.name.split(".")).parent / built.name
            now = built.stat()
            if place.is_file():
                old = place.stat()
                if (old.st_mtime_ns, old.st_size) == (now.st_mtime_ns, now.st_size):
                    continue
            fresh = place.with_name(f".{place.name}.new")
            shutil.copy2(built, fresh)
            fresh.replace(place)


if __name__ == "__main__":
    setup(
        ext_modules=[extension(source) for source in modules()],
        cmdclass={"build_ext": BuildStale},
    )
