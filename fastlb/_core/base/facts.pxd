# What can be known of a client and of what it asks, by number. The modules of facts/ find it; what
# asks for a fact by name (a route, a key, a template, a log) holds a FactRef.
from libc.stdint cimport uint8_t

from fastlb._core.base.head cimport Text

cdef enum Fact:
    FACT_NONE = 0               # of a key: there is none; of a template: `name` is a text
    FACT_HEADER = 1             # up to FACT_FORM: by name, and a request may have several values
    FACT_QUERY = 2
    FACT_COOKIE = 3
    FACT_JSON = 4               # a member of the body
    FACT_FORM = 5
    FACT_SEGMENT = 6            # of the route's path: the one at `index`
    FACT_NAMED_SEGMENT = 7      # the same by name, as other routes may have it at another place
    FACT_CAPTURE = 8            # of the route's regular expression: the group at `index`
    FACT_PATH_REST = 9
    FACT_HOST_REST = 10         # what the star of a route's host stands for: all but `index` bytes
    FACT_METHOD = 11
    FACT_HOST = 12              # without a port
    FACT_AUTHORITY = 13         # with the port
    FACT_PATH = 14              # as routes match it
    FACT_SENT_PATH = 15         # as servers get it
    FACT_QUERY_STRING = 16      # all of it, without its "?"
    FACT_REQUEST_ID = 17
    FACT_ROUTE = 18
    FACT_CLIENT_IP = 19
    FACT_CLIENT_PORT = 20
    FACT_CLIENT_ADDRESS = 21
    FACT_TLS = 22               # from here on those of TlsFact,
    FACT_TLS_ALPN = 26          # and up to FACT_MQTT_LEVEL those of SpokenFact
    FACT_MQTT_CLIENT_ID = 27
    FACT_MQTT_USERNAME = 28
    FACT_MQTT_LEVEL = 29
    FACT_PROXY = 30             # from here on those of ProxyFact
    FACT_URI = 35               # in templates alone: the path, and the query with its "?"
    FACT_KEPT_QUERY = 36        # in templates alone: the query with its "?", if there is one
    FACT_OTHERS = 37            # from here on numbers are given to facts as they register
    FACTS_MAX = 64

cdef struct FactRef:
    uint8_t fact                # Fact, or the number that it was given
    uint8_t index
    Text name
