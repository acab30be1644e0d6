# Every bound of the core, with its reason; fastlb/config/limits.py bounds what users configure.

cdef enum:
    ENGINES_MAX = 64                # one a core; a counter block a server and engine is allocated
    TIMER_SLOTS_MAX = 256           # different lengths of timeout in one process
    EVENTS_MAX = 256                # a turn: bounds how long a timer or a new snapshot waits
    SPIN_NS = 60000                 # longer than to sleep and be woken takes: 40 us as measured
    SPIN_AFTER = 8                  # waits in a row that ended within SPIN_NS: the next one may too
    SPIN_EVENTS_MAX = 2             # with more connections, somebody is always ready
    SPIN_PENALTY = 256              # quick waits that make up for asking in vain
    TRIES_MAX = 16                  # servers that one exchange may try to connect to
    SLAB_EXCHANGES = 64             # exchanges allocated at once: about 16 KiB
    CHUNK_CLASSES = 9               # chunks of 4 KiB << class: 4 KiB to 1 MiB
    CHUNK_BYTES_MIN = 4096
    CHUNKS_KEPT_BYTES = 2097152     # free chunks kept of each class; others go back
    BULK_HELD_BYTES_MAX = 67108864  # beyond this, slow readers get chunks of the small class only
    PIPES_MAX = 64                  # of an engine, two descriptors each; more flows are copied
    PIPE_BYTES = 262144             # 64 KiB costs 1.3 times as much (bench/micro)
    PUMP_READS_MAX = 16             # reads a direction and turn, and
    PUMP_BYTES_MAX = 1048576        # bytes: about 0.3 ms, so that a bulk flow starves nobody
    STEPS_MAX = 64                  # stages walked for one event: TRIES_MAX x 2 fits
    ACCEPTS_MAX = 64                # connections accepted for one wake-up of a listener
    FAILING_PAUSE_MS = 1000         # a server that refused a connection is left out that long
    RESUME_MS = 100                 # how often accepting is tried again when descriptors ran out
    FIELDS_MAX = 200                # header fields of a message; listeners allow 100 unless told
    SEGMENTS_MAX = 32               # of a path that a pattern looks at
    HTTP_BLOCK = 64                 # requests or upstreams allocated at once
    HTTP_READ_BYTES = 16384         # at a time; a body that fills it is spliced
    HTTP_SCRATCH_CLASS = 3          # 32 KiB: headroom, a read, and a chunk's end or its trailers
    HTTP_OUTPUT_CLASS = 8           # 1 MiB: a normalised target of 3 x 64 KiB, and a head
    HTTP_HEADROOM = 4096            # before what is read, so that a longer head fits in its place
    EXTENSION_BYTES_MAX = 4096      # of a chunk; nobody uses them
    TRAILER_BYTES_MAX = 8192
    LINGER_BYTES_MAX = 262144       # read for nothing after an answer, so that it arrives
    ANSWER_BYTES_MAX = 8192         # of an answer of our own, but for what is configured
    INTERIM_MAX = 16                # responses of 1xx before the one that counts
    KEY_BYTES_MAX = 64              # "[" + 45 bytes of IPv6 + "]:65535" is 54
