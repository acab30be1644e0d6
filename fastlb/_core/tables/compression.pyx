# What a route wants compressed, laid out for the engines. fastlb/compile/filters says what goes in.
from libc.stdint cimport uint32_t

from fastlb._core.ext.coding cimport (
    FASTLB_HAS_BROTLI, FASTLB_HAS_ZLIB, FASTLB_HAS_ZSTD, BrotliEncoderVersion, ZSTD_versionString,
    zlibVersion,
)
from fastlb._core.tables.arena cimport Arena


def _libraries():
    """The version of each coding's library; "" where the build is without."""
    cdef uint32_t brotli = BrotliEncoderVersion()
    return {
        "zstd": ZSTD_versionString().decode() if FASTLB_HAS_ZSTD else "",
        "br": f"{brotli >> 24}.{brotli >> 12 & 0xFFF}.{brotli & 0xFFF}"
        if FASTLB_HAS_BROTLI else "",
        "gzip": zlibVersion().decode() if FASTLB_HAS_ZLIB else "",
    }


_NUMBERS = {"": CODING_NONE, "zstd": CODING_ZSTD, "br": CODING_BROTLI, "gzip": CODING_GZIP}
# The names that HTTP has for codings, by Coding.
NAMES = tuple(_NUMBERS)
LIBRARIES = _libraries()
_FORMS = {"exact": TYPE_EXACT, "any": TYPE_ANY_SUBTYPE, "suffix": TYPE_SUFFIX}


cdef void* compress_table(object room, object spec) except? NULL:
    cdef Arena arena = room
    cdef CompressTable* table = <CompressTable*> arena.take(1, sizeof(CompressTable))
    cdef uint32_t i
    for coding in spec.codings:
        table.codings[table.n_codings] = _NUMBERS[coding]
        table.levels[<int> _NUMBERS[coding]] = spec.levels[coding]
        table.n_codings += 1
    table.bytes_min = spec.min_bytes
    table.personal = spec.personal
    table.n_types = len(spec.types)
    table.types = <MediaType*> arena.take(table.n_types, sizeof(MediaType))
    for i, (form, text) in enumerate(spec.types):
        table.types[i].form = _FORMS[form]
        table.types[i].text = arena.text(text)
    return table
