# llhttp, Node's parser, found inside httptools and called without the GIL. It cuts a head into
# spans; what a proxy must refuse beyond that is in proto/http1.
from libc.stdint cimport uint16_t, uint32_t, uint8_t
from libc.string cimport memcmp, memset

from fastlb._core.base.head cimport Field, Head
from fastlb._core.base.limits cimport FIELDS_MAX
from fastlb._core.ext.atomic cimport unlikely
from fastlb._core.ext.linux cimport RTLD_NOLOAD, RTLD_NOW, dlopen, dlsym
from fastlb._core.ext.llhttp cimport (
    LLHTTP_BYTES, LLHTTP_OK, LLHTTP_PAUSED, LLHTTP_REQUEST, LLHTTP_RESPONSE, LLHTTP_SLOTS,
    llhttp_execute_function, llhttp_init_function, llhttp_number_function, llhttp_position_function,
    llhttp_status_function,
)

cdef struct Parser:
    uint8_t[LLHTTP_BYTES] state         # first: callbacks get its address
    Head* head
    uint8_t full                        # more fields than a head may have

# Where the callbacks that we use sit among the settings: llhttp 9.3 put on_protocol before on_url.
cdef struct Layout:
    int url
    int field
    int value
    int headers_complete

cdef Layout[2] LAYOUTS
LAYOUTS[0] = Layout(url=2, field=6, value=7, headers_complete=10)     # 9.3 and later
LAYOUTS[1] = Layout(url=1, field=5, value=6, headers_complete=9)      # 8.1 to 9.2

cdef llhttp_init_function _init = NULL
cdef llhttp_execute_function _execute = NULL
cdef llhttp_position_function _error_pos = NULL
cdef llhttp_number_function _major = NULL
cdef llhttp_number_function _minor = NULL
cdef llhttp_status_function _status = NULL
cdef void* _settings[LLHTTP_SLOTS]
cdef bint _known = False


cdef bint llhttp_known() noexcept nogil:
    return _known


cdef int _on_url(void* parser, const char* at, size_t size) noexcept nogil:
    cdef Head* head = (<Parser*> parser).head
    head.target_at = <uint32_t> (<const uint8_t*> at - head.bytes)
    head.target_size = <uint32_t> size
    return 0


cdef int _on_field(void* parser, const char* at, size_t size) noexcept nogil:
    cdef Head* head = (<Parser*> parser).head
    cdef Field* field
    if unlikely(head.n_fields >= FIELDS_MAX):
        (<Parser*> parser).full = True
        return LLHTTP_PAUSED
    field = &head.fields[head.n_fields]
    head.n_fields += 1
    field.name_at = <uint32_t> (<const uint8_t*> at - head.bytes)
    field.name_size = <uint32_t> size
    field.value_at = field.name_at + field.name_size + 1
    field.value_size = 0
    return 0


cdef int _on_value(void* parser, const char* at, size_t size) noexcept nogil:
    cdef Head* head = (<Parser*> parser).head
    cdef Field* field = &head.fields[head.n_fields - 1]
    cdef uint32_t start = <uint32_t> (<const uint8_t*> at - head.bytes)
    if field.value_size == 0:
        field.value_at = start
    field.value_size = start + <uint32_t> size - field.value_at
    return 0


cdef int _on_headers_complete(void* parser, const char* at, size_t size) noexcept nogil:
    return LLHTTP_PAUSED


cdef int llhttp_parse(Head* head, int type, const uint8_t* data, size_t size,
                      size_t skipped) noexcept nogil:
    """Cut `data` into spans: bytes used with the blank line, 0 if it ends too early, -1 if it is
    no head, -2 if it has more than FIELDS_MAX fields. Of a request whose method llhttp may not
    know, `skipped` bytes are that and its space; llhttp sees another method in their place."""
    cdef Parser parser
    cdef int error
    cdef const uint8_t* end
    parser.head = head
    parser.full = False
    head.bytes = data
    head.n_fields = 0
    head.target_size = 0
    _init(&parser, type, _settings)
    if unlikely(skipped):
        _execute(&parser, b"PUT ", 4)
    error = _execute(&parser, <const char*> data + skipped, size - skipped)
    if error == LLHTTP_OK:
        return 0
    if error != LLHTTP_PAUSED:
        return -1
    if unlikely(parser.full):
        return -2
    end = <const uint8_t*> _error_pos(&parser)
    head.major = _major(&parser)
    head.minor = _minor(&parser)
    head.status = <uint16_t> _status(&parser) if type == LLHTTP_RESPONSE else 0
    head.size = <uint32_t> (end - data)
    return <int> head.size


# --- binding ---

cdef void _use(Layout layout) noexcept nogil:
    memset(_settings, 0, sizeof(_settings))
    _settings[layout.url] = <void*> _on_url
    _settings[layout.field] = <void*> _on_field
    _settings[layout.value] = <void*> _on_value
    _settings[layout.headers_complete] = <void*> _on_headers_complete


cdef bint _is(Head* head, uint32_t at, uint32_t size, bytes text):
    return size == <uint32_t> len(text) and memcmp(head.bytes + at, <const char*> text, size) == 0


# A message whose spans are known, with a body that must not be touched.
_REQUEST = (b"PUT /a?b=c HTTP/1.1\r\nHost: h\r\nX-Empty:\r\nX-Two: d e\r\n"
            b"Content-Length: 3\r\n\r\nabc")
_UNKNOWN = b"LIST /a HTTP/1.1\r\nHost: h\r\n\r\n"
_RESPONSE = b"HTTP/1.0 404 Not Found\r\nX: y\r\n\r\n"
# What llhttp's strict mode refuses: were it not to, a head would have another end for others.
_REFUSED = (
    b"GET / HTTP/1.1\nHost: h\n\n",
    b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
)


cdef int _parse(Head* head, int type, bytes message, size_t skipped=0):
    return llhttp_parse(head, type, <const uint8_t*> <const char*> message, len(message), skipped)


cdef bint _answers_as_known():
    cdef Head head
    cdef int n = _parse(&head, LLHTTP_REQUEST, _REQUEST)
    if n != len(_REQUEST) - 3 or head.n_fields != 4 or head.major != 1 or head.minor != 1:
        return False
    if not _is(&head, head.target_at, head.target_size, b"/a?b=c"):
        return False
    for i, (name, value) in enumerate(
            [(b"Host", b"h"), (b"X-Empty", b""), (b"X-Two", b"d e"), (b"Content-Length", b"3")]):
        if not (_is(&head, head.fields[<int> i].name_at, head.fields[<int> i].name_size, name)
                and _is(&head, head.fields[<int> i].value_at, head.fields[<int> i].value_size,
                        value)):
            return False
    n = _parse(&head, LLHTTP_REQUEST, _UNKNOWN, 5)
    if n != len(_UNKNOWN) or not _is(&head, head.target_at, head.target_size, b"/a") or (
            head.n_fields != 1):
        return False
    n = _parse(&head, LLHTTP_RESPONSE, _RESPONSE)
    if n != len(_RESPONSE) or head.status != 404 or head.minor != 0 or head.n_fields != 1:
        return False
    if any(_parse(&head, LLHTTP_REQUEST, message) != -1 for message in _REFUSED):
        return False
    return all(_parse(&head, LLHTTP_REQUEST, _REQUEST[:i]) == 0 for i in range(1, n))


cdef str llhttp_bind(str library):
    """Find llhttp in a loaded extension module, and check that it does what is known of it.

    Returns "" when it can be used, else why not.
    """
    global _init, _execute, _error_pos, _major, _minor, _status, _known
    cdef int i
    _known = False
    handle = dlopen(library.encode(), RTLD_NOW | RTLD_NOLOAD)
    if handle == NULL:
        return "it isn't loaded"
    _init = <llhttp_init_function> dlsym(handle, "llhttp_init")
    _execute = <llhttp_execute_function> dlsym(handle, "llhttp_execute")
    _error_pos = <llhttp_position_function> dlsym(handle, "llhttp_get_error_pos")
    _major = <llhttp_number_function> dlsym(handle, "llhttp_get_http_major")
    _minor = <llhttp_number_function> dlsym(handle, "llhttp_get_http_minor")
    _status = <llhttp_status_function> dlsym(handle, "llhttp_get_status_code")
    if (_init == NULL or _execute == NULL or _error_pos == NULL or _major == NULL
            or _minor == NULL or _status == NULL):
        return "it doesn't export llhttp's functions"
    for i in range(2):
        _use(LAYOUTS[i])
        if _answers_as_known():
            _known = True
            return ""
    return "its llhttp is none that is known"
