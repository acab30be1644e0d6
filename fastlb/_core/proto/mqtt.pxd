from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport Text

cdef struct MqttConnect:        # what the first packet of a client says
    uint32_t wanted             # bytes before which another look is in vain
    uint8_t level               # 3: 3.1, 4: 3.1.1, 5: 5
    Text client_id              # may be empty: the server makes one up
    Text username


cdef int parse_connect(const uint8_t* data, uint32_t size, MqttConnect* packet) noexcept nogil
