# What OpenSSL writes to and reads from, for base/tls.
from libc.stdint cimport uint8_t

from fastlb._core.base.parts cimport TlsFacts
from fastlb._core.base.types cimport Stream

cdef struct Gathered:           # records that go out together
    uint8_t* at
    uint8_t* end

# What OpenSSL writes to and reads from. With 24 bytes it is as large as it can be without taking
# more of the heap, for each connection.
cdef struct Wire:
    Stream* stream
    Gathered* gathered          # NULL: records go to the socket
    TlsFacts* facts             # of the client; NULL: nobody has asked yet
