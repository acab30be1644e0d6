# Whom a listener or a route serves: lists of networks, and what a listener allows each source.
# http/sources goes by it, tables/access fills it.
from libc.stdint cimport int32_t, uint16_t, uint64_t, uint8_t

from fastlb._core.base.buckets cimport Buckets
from fastlb._core.base.parts cimport Address
from fastlb._core.base.ranges cimport NetworkList, NetworkLive
from fastlb._core.base.rates cimport RateLive

cdef enum:
    OFFENDERS_MAX = 1024        # that wait to be banned: the control plane takes all at once

cdef struct Offender:           # a source that was denied too often
    Offender* next
    Address address

cdef struct BanLive:            # of one listener, shared by all engines
    Buckets denials             # of each source
    double unit_ns              # what one denial uses up
    uint64_t offenders          # Offender*: those that are to be banned, the latest first
    int32_t n_offenders

cdef struct Ban:                # when a source is banned for what it was denied
    BanLive* live
    const NetworkLive* banned   # the set that it is added to: being in there is no denial
    double burst                # denials that are let pass

cdef struct Access:             # the clients that a listener or a route serves
    NetworkList deny
    NetworkList allow           # n is 0: everybody
    uint8_t deny_reports, allow_reports         # nobody is denied by that list
    # The rest is of listeners.
    uint8_t rate_reports        # nobody is refused for the rate
    uint8_t tarpit_reports      # nobody is held
    uint16_t tarpit_timer       # slot: how long a denied connection is held; 0: it is closed
    int32_t tarpit_max          # connections that are held at a time
    int32_t source_max          # connections of one source; 0: no limit
    int32_t handshakes_max      # TLS handshakes at a time; 0: no limit
    int32_t source_handshakes_max       # the same of one source
    RateLive* rate              # new connections, or sessions, of each source; NULL: any number
    double rate_burst
    Ban* ban                    # NULL: nobody is banned
