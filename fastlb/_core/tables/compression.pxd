# What a route wants compressed, and how.
from libc.stdint cimport int32_t, uint32_t, uint64_t, uint8_t

from fastlb._core.base.head cimport Text

cdef enum Coding:               # of content (RFC 9110, 8.4.1; RFC 7932; RFC 8878)
    CODING_NONE = 0
    CODING_ZSTD = 1
    CODING_BROTLI = 2
    CODING_GZIP = 3
    CODINGS = 4

cdef enum TypeForm:             # of a media type in the list of those to compress
    TYPE_EXACT = 0
    TYPE_ANY_SUBTYPE = 1        # text/*: `text` ends with the slash
    TYPE_SUFFIX = 2             # */*+json: `text` begins with the plus sign

cdef struct MediaType:
    uint8_t form                # TypeForm
    Text text                   # in lower case

cdef struct CompressTable:
    uint8_t n_codings
    uint8_t[CODINGS] codings    # Coding, the one that is preferred first
    int32_t[CODINGS] levels     # by Coding
    uint64_t bytes_min          # of a body whose length is known
    uint32_t n_types
    MediaType* types
    uint8_t personal            # responses with Set-Cookie or Cache-Control: private, too


cdef void* compress_table(object room, object spec) except? NULL
