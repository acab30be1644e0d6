"""What is bounded in the tools for tests, and why so."""

READ_BYTES = 1 << 16            # a read of an origin
AHEAD_BYTES_MAX = 1 << 20       # a peer may be ahead of an origin's script by this much
BACKLOG = 1024                  # connections that wait to be accepted, as common servers have it
HEAD_BYTES_MAX = 1 << 17        # of a request; more than the balancer lets pass
REQUESTS_KEPT = 100_000         # of each origin; a test that looks at more than that counts
RECORDS_KEPT = 100_000          # of a balancer
BODY_BYTES_KEPT = 1 << 20       # of each request, for the test to look at
DATAGRAM_BYTES_KEPT = 1 << 26   # of each origin, all together
DATAGRAMS_AT_ONCE = 64          # read of one origin before it is the others' turn, as the core does
DELAYED_MAX = 10_000            # answers of an origin of datagrams: a second's of 500 players
RECEIVE_BUFFER_BYTES = 4 << 20  # of datagrams: bursts come faster than Python reads
WAIT_S = 30.0                   # for what takes milliseconds: longer is broken
PACE_S = 0.02                   # a bandwidth is kept by a write so often
SLEEP_S_MAX = 3600.0            # a delay; who wants more hangs
