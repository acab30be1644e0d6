"""Every default and bound that users meet, once, with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limit:
    """`default`, and the least and most allowed; ms for timeouts, bytes for sizes."""

    default: int
    low: int
    high: int
    reason: str


@dataclass(frozen=True)
class Choice:
    """A default that is no amount: a switch, a name, or None where it depends."""

    default: Any
    reason: str


HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

MATCH_VALUES_MAX = 10_000   # of one list in match; longer ones are a file of networks, or a mistake
MATCH_PLACES_MAX = 10_000   # hosts times paths of one route: each is an entry of the tables
SEGMENTS_MAX = 32           # SEGMENTS_MAX of the core
GROUPS_MAX = 16             # CAPTURES_MAX of the core: of a regular expression that captures
RESPOND_BYTES_MAX = 65_536  # of an answer of our own
POLICY_ANSWER_MAX = 262_144 # of one that a policy makes: half of the room that heads are written in
SERVERS_MAX = 65_534        # of a pool; the core counts them in 16 bits, and one says "none"
FALLBACKS_MAX = 16          # pools that fall in one after the other: a request looks at them all
NAME_MAX = 100              # of a listener or a pool: it has to fit in a log line
TEXT_MAX = 4096             # of any one value; a path is no longer (PATH_MAX)
DEPTH_MAX = 32              # of tables and lists in each other; no key is deeper than 6
KEY_PARTS_MAX = 16          # of a dotted key: the longest that has a meaning has 7
KEY_BYTES_MAX = 1024        # of a key with all its parts
MISTAKES_MAX = 20_000       # that are told one by one: each takes a kilobyte and a tenth of a ms
FILE_BYTES_MAX = 16 << 20   # of a configuration; more is a mistake
HEALTH_DATAGRAM_BYTES_MAX = 1472     # one packet of Ethernet: what is cut in pieces gets lost
UNIX_PATH_BYTES_MAX = 107   # sun_path has 108 bytes, and ends with a 0
THREADS_MAX = 64            # ENGINES_MAX of the core

THREADS = Choice("auto", "more threads than CPUs only wait for each other")
CONNECTIONS_MAX = 10_000_000    # a round number above what the ports and memory of a machine hold
MAX_CONNECTIONS = Limit(
    0, 1, CONNECTIONS_MAX, "a server or a proxy knows its own; the whole process is bounded anyway"
)
PROCESS_MAX_CONNECTIONS = Limit(
    0, 1, CONNECTIONS_MAX,
    "`fastlb serve` takes half of the descriptor limit (a connection needs two descriptors),"
    " so that they can't run out",
)
PROCESS_MAX_SESSIONS = Limit(
    0, 1, CONNECTIONS_MAX,
    "half of `max_connections`, so that a flood of UDP leaves the other half to TCP; all of it"
    " where all listeners are UDP",
)
BUSY_POLL = Choice(
    True, "to sleep and be woken takes longer than the answer: a third of the latency measured"
)
WEIGHT = Limit(1, 0, 256, "all alike; as in HAProxy, finer shares than 1/256 are noise")
SERVER_PRIORITY = Limit(0, 0, 7, "all alike; 8 levels are as many as anybody has used")
SERVER_ZONE = Choice(None, "it is near to everybody")
SERVER_STATE = Choice("up", "a server that is written down is to be used")
ZONE = Choice(None, "all servers are equally near")
ADMIN = Choice(
    None, "an embedding program gets none; `fastlb serve` opens a unix socket of its user"
)
ADMIN_TOKEN = Choice(None, "only this machine, or this user, can get there")
ADMIN_MODE = Choice("0600", "whoever may write to it can change everything")
ADMIN_DEFAULT_SOCKET = Choice(True, "commands find the process, and only its user gets there")
ADMIN_CONNECTIONS_MAX = 128     # at a time: a few people, scrapers and scripts
ADMIN_STREAMS_MAX = 32          # of events, at a time; each costs a line a second
ADMIN_REQUEST_S = 10.0          # for a head, and for a body: it comes from nearby
ADMIN_WAIT_MS_MAX = HOUR_MS     # of a request that waits until a server is drained
ADMIN_CHANGES_MAX = 1000        # of set_servers, that can still be asked about
SLOW_START = Limit(0, 0, HOUR_MS, "most servers can do at once what they can do at all")
SUBSET_SIZE = Limit(0, 1, 65_534, "20 to 100, as the SRE book has it")
SUBSET_INSTANCE = Choice(None, "the host's name, which is another one on every host")
HEDGE = Choice(None, "not every service can stand to be asked twice")
HEDGE_DELAY = Limit(0, 1, 60_000, "either this or a percentile is given")
HEDGE_PERCENTILE = Choice(None, "either this or a delay is given; 95%, as in The Tail at Scale")
HEDGE_BUDGET = Choice("10%", "bounds the load that second tries make, whatever happens")
STICKY = Choice(None, "most services keep what they know of a client elsewhere")
STICKY_SECRET = Choice(None, "write it down once, and give it to all balancers of the service")
STICKY_MAX_AGE = Limit(0, 0, 400 * DAY_MS, "until the browser is closed; browsers allow 400 days")
STICKY_PATH = Choice("/", "all of the site")
STICKY_DOMAIN = Choice(None, "the host that was asked, and no other")
STICKY_SECURE = Choice(False, "plain http would never get it back")
STICKY_SAME_SITE = Choice("lax", "as browsers do by themselves: sent with links from elsewhere")
SECRET_CHARACTERS_MIN = 16  # as hexadecimal digits 64 bits, which nobody guesses online
NETWORKS = Choice({}, "networks can be written in lists, too")
NETWORKS_SOURCE = Choice(None, "a set has one source")
NETWORKS_REFRESH = Limit(
    10_000, 100, DAY_MS, "a list that is fed by a program is to act soon; a look costs microseconds"
)
NETWORKS_URL_REFRESH_MS = 600_000       # unless told: lists on the web change every few hours
NETWORKS_TIMEOUT = Limit(
    10_000, 100, 60_000, "a million networks come in a second or two, and nobody waits meanwhile"
)
NETWORKS_REQUIRED = Choice(True, "a list that can't be read would let everybody in")
NETWORKS_SAVED = Choice(None, "fastlb writes no files unless told where")
NETWORKS_CA = Choice(None, "the authorities of the system")
NETWORKS_BYTES_MAX = 64 << 20   # of a file: a million networks with a comment each
NETWORKS_MAX = 1_000_000        # of one set
NETWORKS_ADDED_MAX = 10_000     # of one set while running: each change makes all of them anew, 4 ms
TARPIT_USE = Choice(None, "denied connections are closed at once, which costs nothing")
TARPIT = Limit(30_000, 100, HOUR_MS, "most tools give up by then")
TARPIT_CONNECTIONS = Limit(1000, 1, 1_000_000, "each takes a descriptor, and 4 KiB in the kernel")
REPORT_HOLD = Choice(False, "a tarpit is meant to hold")
CONNECTION_RATE = Choice(None, "very many people may share one address")
HANDSHAKES = Limit(0, 0, 1_000_000, "no limit: `handshake_timeout` ends those that take long")
SOURCE_HANDSHAKES = Limit(0, 0, 1_000_000, "no limit: very many people may share one address")
BAN_USE = Choice(None, "nobody is banned")
BAN = Limit(600_000, 1000, 365 * DAY_MS, "longer than most attacks wait before they go on")
REPORT_BAN = Choice(False, "a ban is meant to hold")
REQUEST_RATE_USE = Choice(None, "off: people on bad lines are slow, too")
REQUEST_RATE = Limit(0, 1, 1 << 30, "slower than 1 B/s is silence, which timeouts are for")
REQUEST_GRACE = Limit(
    5000, 100, 10 * 60_000, "a packet that is lost is sent again after up to 3 s")
NETWORK_RULE = Choice(None, "every client is served")
REPORT_LIST = Choice(False, "a list is meant to hold")
GEO = Choice(None, "fastlb ships no data")
GEO_DATABASE = Choice(None, "each knows something else")
GEO_REFRESH = Limit(
    60_000, 100, DAY_MS, "databases come out once or twice a week; a look costs microseconds"
)
GEO_BYTES_MAX = 512 << 20       # of a file: the largest that are sold have 400 MB
GEO_OVERRIDES = Choice({}, "databases know public networks")
GEO_OVERRIDES_MAX = 10_000
GEO_FACT = Choice(None, "it isn't known")
ASN_MAX = (1 << 32) - 1         # (RFC 6793)
NEAREST = Choice(None, "most pools are in one place; those in our own zone come first")
NEAREST_PLACES = Choice({}, "clients there get what others get")
NEAREST_OTHERS = Choice(None, "servers of our own zone come first")
NEAREST_MEASURED = Choice(False, "the operator knows where servers are")
ZONES_MAX = 16                  # GROUPS_MAX of the core
RATE_LIMITS = Choice({}, "limits can be written in routes, too")
RATE_LIMIT = Choice(None, "only a service knows how much its clients may ask for")
RATE_KEY = Choice("client.ip", "every request has one")
RATE_BURST = Choice(None, "all that comes in the limit's time may come at once")
RATE_COST = Limit(1, 0, 1_000_000_000, "every request counts alike")
COST_FIELD = Choice(None, "the cost is fixed")
RATE_HEADERS = Choice("draft", "well-behaved clients wait, rather than be refused")
REPORT = Choice(False, "a limit is meant to hold")
RATE_REQUESTS = Limit(
    0, 1, 10_000_000, "ten times what one process serves; a shorter time is too coarse in ns"
)
SPEED = Choice(None, "a line is there to be used")
RATE_PERIOD_MS_MAX = 400 * DAY_MS      # a year, and some days
RATE_BYTES = Limit(0, 1, 1 << 40, "8 terabits a second: more than any network card")
SUBSET = Choice(None, "every process sends to all servers")
IDLE_TIMEOUT = Limit(
    300_000, 0, 30 * DAY_MS,
    "less than the 350 s for which NAT in clouds remembers a silent connection",
)
CONNECT_TIMEOUT = Limit(
    500, 1, 10 * 60_000,
    "a server in the same network answers within a few ms, and another one is tried after it",
)
SHUTDOWN_TIMEOUT = Limit(
    30_000, 0, DAY_MS, "as long as Kubernetes waits before it kills; systemd waits longer",
)
SHUTDOWN_DELAY = Limit(
    0, 0, HOUR_MS, "none; what sends traffic here and asks /readyz needs a few of its intervals",
)
SHUTDOWN_IDLE_TIMEOUT = Limit(
    1_000, 0, HOUR_MS, "a request that is on its way arrives, and nobody waits long for a stop",
)
DNS_TIMEOUT = Limit(2_000, 10, 60_000, "two tries of a resolver that answers within a second")
DNS_REFRESH = Limit(0, 100, DAY_MS, 'the default, "ttl", holds an answer as long as it says')
BUFFER_SIZE = Limit(
    16 << 10, 4 << 10, 1 << 20,
    "holds any message that is not bulk, and stays in the processor's cache; a power of two",
)
BULK_BUFFER_SIZE = Limit(
    256 << 10, 4 << 10, 1 << 20,
    "fewer and larger reads, where it takes a copy anyway; a power of two",
)
MAX_IDLE_CONNECTIONS = Limit(
    256, 1, 100_000, "as many as are busy at a time, of a server that is worth keeping warm"
)
MAX_RESPONSE_HEADER_SIZE = Limit(
    32 << 10, 1 << 10, 60 << 10, "as much as a request's; HAProxy takes 15 KiB, Envoy 60"
)
IDLE_CONNECTION_TIMEOUT = Limit(
    60_000, 0, DAY_MS, "a server that closes earlier is noticed at once"
)
UDP_IDLE_TIMEOUT = Limit(60_000, 0, 30 * DAY_MS, "as Envoy has it; a game sends 20 times a second")
QUERY_TIMEOUT = Limit(5_000, 0, 30 * DAY_MS, "as a resolver of DNS waits (RES_TIMEOUT of resolv.h)")
CLOSING_MS = 1000   # of silence, after which a session of a listener that goes has ended
MAX_SESSIONS = Limit(10_000, 1, 1_000_000, "each takes a descriptor, of 20,000 or so there are")
SOURCE_SESSIONS = Limit(
    1024, 0, 1_000_000, "a site behind one address has fewer; one host must not take all there are"
)
SOURCE_CONNECTIONS = Limit(
    0, 0, 1_000_000, "very many people may share one address, behind a proxy or a mobile network"
)
PICK = Choice("session", "most servers remember who speaks to them")
ANSWERS = Choice(None, "any number, whenever they come")
ON_SERVER_DOWN = Choice("move", "a server that is down answers nobody")
COALESCE = Limit(
    0, 0, 10_000, "none: who plays or trades waits for nothing; 200us (microseconds) suit video"
)
RECEIVE_BUFFER_SIZE = Limit(
    4 << 20, 4 << 10, 1 << 30, "some 10 ms of a gigabit link; a turn of the engine takes less"
)
BACKLOG = Limit(
    4096, 1, 65_535, "Linux' own limit (net.core.somaxconn), which caps it; a burst has room"
)
# Found 90 s after its last word: 60 s, and 3 probes of 10 s.
KEEPALIVE_IDLE = Limit(
    60_000, 1000, 32_767_000, "a vanished peer is found well before idle_timeout is over"
)
KEEPALIVE_INTERVAL = Limit(
    10_000, 1000, 32_767_000, "a moment without network is not yet a vanished peer"
)
KEEPALIVE_COUNT = Limit(3, 1, 127, "single probes get lost")
KEEPALIVE = Choice(False, "idle_timeout ends what vanished peers leave; probes wake up phones")
TCP_NODELAY = Choice(True, "a small message must not wait for the next one")
REUSE_PORT = Choice(False, "two processes on one port are a mistake more often than a plan")
MODE = Choice(None, "the umask decides, as for any file")
BALANCE = Choice("round_robin", "even, and right where servers and connections are alike")
POOL = Choice(None, "an http listener may have routes instead")
HASH_ON = Choice("client.ip", "a port differs with every connection, so an IP keeps its server")
BOUNDED_LOAD_MIN, BOUNDED_LOAD_MAX = 1.01, 100.0
BOUNDED_LOAD = Choice(None, "a key's server is worth waiting for, unless 1.25 or so is given")
TABLE_SIZE = Limit(
    65_537, 101, 5_000_011, "as in the paper: spread within 1 % over hundreds of servers"
)
HEALTH = Choice(None, "a server that can't be connected to is found out without")
HEALTH_KIND = Choice(None, "exactly one is given")
HEALTH_GRPC = Choice(None, "exactly one is given")
HEALTH_SEND = Choice("", "many protocols begin with the server's greeting")
HEALTH_UDP = Choice(None, "exactly one is given")
HEALTH_UDP_SEND = Choice("ping", "an empty one is nothing to many programs")
HEALTH_UDP_EXPECT = Choice("", "most servers answer in a way of their own")
HEALTH_METHOD = Choice("GET", "every server answers it")
HEALTH_HOST = Choice(None, "the server's address")
HEALTH_STATUSES = Choice(("200-399",), "a redirect to a login is a sign of life, too")
HEALTH_BODY = Choice("", "the status says it")
HEALTH_PORT = Choice(None, "the server's own")
HEALTH_INTERVAL = Limit(1000, 10, DAY_MS, "a second of errors is noticed, a check a second is not")
HEALTH_FAST_INTERVAL = Limit(250, 10, DAY_MS, "once in doubt, be sure soon; no more than interval")
HEALTH_TIMEOUT = Limit(500, 1, HOUR_MS, "as connect_timeout; who needs longer is in trouble")
HEALTH_RISE = Limit(2, 1, 1000, "once may be luck")
HEALTH_FALL = Limit(3, 1, 1000, "a single check gets lost; three don't")
HEALTH_PANIC = Choice("0%", "a check that fails is believed; a share is for those that may lie")
RETRY = Choice(None, "as given for each of its keys")
RETRY_ATTEMPTS = Limit(3, 1, 16, "two servers may go at once; a fourth try is rarely better")
RETRY_ON = Choice(
    ("connect_failure", "reset"), "nothing was done yet, or what was done may be done twice"
)
RETRY_CONNECT = Choice(True, "the server has got nothing, so nothing can happen twice")
RETRY_NON_IDEMPOTENT = Choice(False, "an order must not be placed twice")
RETRY_BUDGET = Choice("20%", "as Finagle has it: a pool in trouble gets little more than its load")
RETRY_BUDGET_MOST = 1500        # percent: 15 retries of each request
RETRY_RESERVE = 100             # retries in 10 s that a thread may make anyway
ROUTE_RETRY = Choice(None, "as the pool says")
OUTLIERS = Choice(None, "as given for each of its keys")
OUTLIER_FAILURES = Limit(5, 0, 1000, "one may be the request's fault, five are the server's")
EJECTION_TIME = Limit(30_000, 10, DAY_MS, "as Envoy has it: longer than a restart takes")
EJECTION_TIME_MOST = Limit(300_000, 10, DAY_MS, "as Envoy has it: then it is worth another look")
OUTLIER_ERROR_RATE = Choice(None, "failures in a row find a dead server; 50% finds a half-dead one")
OUTLIER_LATENCY = Choice(None, "servers may differ; 5 or so finds those that are ill")
OUTLIER_LATENCY_LEAST, OUTLIER_LATENCY_MOST = 1.5, 1000.0
OUTLIER_INTERVAL = Limit(10_000, 100, HOUR_MS, "long enough to see some requests of every server")
OUTLIER_REQUESTS = Limit(20, 1, 1_000_000, "of fewer, a share is a matter of luck")
MAX_EJECTED = Choice("50%", "the others have to carry the load")
OUTLIER_STATUSES = Choice(("502-504",), "a 500 tells of the request as often as of the server")
LIMITS = Choice(None, "as given for each of its keys")
MAX_REQUESTS_OF_POOL = Limit(0, 1, CONNECTIONS_MAX, "servers that have a limit say it themselves")
MAX_PENDING = Limit(0, 0, 1_000_000, "off: a client that is told at once can go elsewhere")
MAX_RETRIES = Limit(0, 1, 1_000_000, "a share of the requests fits more pools")
PENDING_TIMEOUT = Limit(1000, 1, HOUR_MS, "who waits longer is mostly gone when it is its turn")
RETRY_AFTER = Limit(1000, 0, DAY_MS, "a place comes free within a second, or there is more amiss")
PRIORITY = Choice("normal", "who came first is served first")
FALLBACK = Choice(None, "clients are told at once that there is nobody")
UNAVAILABLE = Choice(None, "a 503 with a line of text, or of JSON where that is asked for")
NAMESERVERS = Choice(None, "those of /etc/resolv.conf, as for every program")
SERVER_REFRESH = Choice(None, "what `dns.refresh` says")

PAGE_BYTES_MAX = 1 << 18    # of a page for an error: it is sent with its head in one write
PEM_BYTES_MAX = 1 << 20     # of a file of certificates; the system's authorities are 0.2 MiB
PROXY_PROTOCOL = Choice(None, "clients are who they seem to be, and a header is what they say")
PROXY_REQUIRED = Choice(False, "a check of a proxy's may come without a header")
PROXY_TIMEOUT = Limit(
    5_000, 10, 600_000, "it is the first thing that a proxy says, in its first segment"
)
POOL_PROXY_PROTOCOL = Choice(None, "servers that expect no header take it for a broken request")
TLS = Choice(None, "the scheme of `bind` says whether there is any")
POOL_TLS = Choice(None, "a pool's servers speak plain TCP or HTTP")
SERVER_PROTOCOL = Choice("http/1.1", "every server of http speaks it")
TLS_KEY = Choice(None, "the file of the certificate has it too")
TLS_PASSWORD = Choice(None, "the key isn't encrypted")
TLS_OCSP = Choice(None, "nothing is stapled")
TLS_ALPN = Choice(
    None, "what the listener speaks: h2, http/1.1 and http/1.0 over https, nothing over tls",
)
TLS_OFFERED = Choice(None, "servers speak what `protocol` says; http/1.1 needs no offer")
TLS_TICKET_KEYS = Choice(None, "keys are made by chance, and are never on a disk")
TLS_ROTATE = Limit(
    12 * HOUR_MS, 60_000, 7 * DAY_MS,
    "who steals a key reads what was begun in a day and a half at most",
)
TLS_MIN_VERSION = Choice("1.2", "what came before is broken (RFC 8996)")
TLS_MAX_VERSION = Choice("1.3", "there is none newer")
TLS_CIPHERS = Choice(None, "forward secrecy and authenticated encryption alone (RFC 9325, 4.2)")
TLS_CURVES = Choice(None, "what clients offer most, the quickest first")
TLS_KEY_LOG = Choice(None, "who has it can read everything")
TLS_CLIENT_AUTH = Choice("none", "most clients have no certificates")
TLS_CLIENT_CA = Choice(None, "who asks for certificates says whose")
TLS_CRL = Choice(None, "nobody is revoked")
TLS_DEPTH = Choice(None, "OpenSSL's own: 100")
TLS_TICKETS = Choice(True, "a client that comes back costs a quarter")
TLS_UNKNOWN_NAME = Choice(
    "first", "a client that is told off shows a better error with a certificate than without"
)
TLS_HANDSHAKE_TIMEOUT = Limit(
    10_000, 100, 600_000, "two round trips and a slow device; who only holds a connection is cut"
)
TLS_CA = Choice(None, "the system's authorities")
TLS_SERVER_NAME = Choice(None, "each server's own host, as it is written")
TLS_VERIFY = Choice(True, "who doesn't look whom it speaks to may as well do without TLS")
TLS_OWN = Choice(None, "servers rarely ask for one")
ACCESS_LOG = Choice(None, "nobody reads it unless it is asked for")
LOG_FORMAT = Choice("json", "every program can read it, and it has everything")
LOG_FIELDS = Choice(None, "all but what others are made of")
LOG_BUFFER = Limit(
    1 << 20, 64 << 10, 1 << 30, "some 2,000 records: what a thread makes while the disk is busy"
)
TRACING = Choice(None, "who traces says so, and installs opentelemetry-sdk")
TRACING_SAMPLE = Choice("1%", "enough to see what is usual, and too little to cost anything")
TRACING_SERVICE = Choice("fastlb", "what traces are found by")

# --- http ---

REQUEST_HEADER_TIMEOUT = Limit(
    10_000, 10, HOUR_MS, "a head is a packet or two; who sends it slowly holds a connection",
)
RESPONSE_HEADER_TIMEOUT = Limit(60_000, 0, DAY_MS, "as nginx has it; slow reports take less")
REQUEST_TIMEOUT = Limit(0, 0, DAY_MS, "off: downloads and streams take what they take")
BODY_IDLE_TIMEOUT = Limit(60_000, 0, DAY_MS, "a peer that moves nothing for so long is gone")
KEEPALIVE_TIMEOUT = Limit(
    75_000, 1, DAY_MS, "longer than the 60 s of common balancers in front, which close first then",
)
WEBSOCKET_TIMEOUT = Limit(HOUR_MS, 0, 30 * DAY_MS, "silence is usual there")
MAX_HEADER_SIZE = Limit(32 << 10, 1 << 10, 256 << 10, "cookies and tokens of 16 KiB fit twice")
MAX_HEADERS = Limit(100, 1, 200, "browsers send 20, and each is looked at")
MAX_URI_LENGTH = Limit(8 << 10, 64, 65_535, "RFC 9110 wants 8,000 bytes at least")
MAX_BODY_SIZE = Limit(0, 0, 1 << 50, "bodies are streamed, and cost no memory")
MIRROR = Choice(None, "a copy costs the servers that get it")
MIRROR_SHARE = Choice("100%", "a mirror that is named is wanted")
COMPRESS = Choice(False, "it costs CPU time, and servers may compress already")
CODINGS = Choice(("zstd", "br", "gzip"), "the one that saves most for its time first")
COMPRESS_MIN_SIZE = Limit(
    1 << 10, 0, 1 << 30, "less fits one packet, compressed or not"
)
COMPRESS_TYPES = Choice(None, "text in all its forms; images and video are compressed already")
COMPRESS_TYPES_MAX = 100
COMPRESS_PERSONAL = Choice(False, "the size of a compressed secret gives it away (BREACH)")
COMPRESS_LEVELS = Choice(None, "each coding has a scale of its own")
ZSTD_LEVEL = Limit(3, 1, 12, "zstd's own; higher ones hold up other requests of the thread")
BROTLI_LEVEL = Limit(4, 0, 7, "smaller than gzip at its best, in half of the time")
GZIP_LEVEL = Limit(5, 1, 9, "a tenth smaller than 1; what comes above 5 saves a hundredth")
MAX_MATCH_BODY = Limit(64 << 10, 1 << 10, 128 << 10, "small requests say what they are about")
MAX_REQUESTS = Limit(0, 0, 1_000_000_000, "a connection costs the same however old it is")
MAX_H2_WINDOW = Limit(
    16 << 20, 64 << 10, 256 << 20, "1 GB/s at 16 ms, 100 MB/s at 160 ms; those grow that need it"
)
CONNECTION_AGE = Limit(0, 0, DAY_MS, "a connection is as good as when it was new")
RESPOND_STATUS = Limit(200, 200, 599, "an answer is what it is for")
POLICY = Choice(None, "routes and pools need none")
PLAN = Choice(None, "one limit for all keys is what most need")
PLAN_CACHE_TTL = Limit(60_000, 100, DAY_MS, "who pays for more gets it within a minute")
PLAN_DEADLINE = Limit(5000, 1, HOUR_MS, "nobody waits for it; what takes longer is stuck")
POLICY_DEADLINE = Limit(
    1000, 1, HOUR_MS, "a client waits a second for its page; a function that takes longer is stuck",
)
POLICY_ON_ERROR = Choice(None, "where nobody may go is not for us to guess")
POLICY_CACHE_ON = Choice(None, "a function may look at anything")
POLICY_CACHE_TTL = Limit(5000, 1, DAY_MS, "who was locked out is out within seconds")
POLICY_BLOCKING = Choice(False, "a thread costs more than most functions")
POLICY_PENDING = Limit(1000, 1, 1_000_000, "each holds a request's head; a database has fewer")
POLICY_FIRST = Limit(0, 0, 64 << 10, "an address is known at once, and some servers speak first")
POLICY_FIRST_TIMEOUT = Limit(
    200, 1, HOUR_MS, "a client that speaks first does so within a round trip",
)
POLICY_BODY = Limit(0, 0, 64 << 10, "most look at the head, and needn't wait for more")
SNIFF_TIMEOUT = Limit(
    250, 1, HOUR_MS, "a client that speaks first does so within a round trip; others wait so long",
)
SNIFF_WHOLE_TIMEOUT = Limit(
    5_000, 1, HOUR_MS, "a packet that was lost comes again within seconds",
)
UNAVAILABLE_STATUS = Limit(503, 200, 599, "the one that says: not now (RFC 9110, 15.6.4)")
RESPOND_BODY = Choice("", "an answer needs none")
RESPOND_TYPE = Choice("text/plain; charset=utf-8", "what can't be taken for a page")
RESPOND_HEADERS = Choice(None, "an answer needs no more")
REDIRECT_STATUS = Choice(302, "the one that nobody remembers for ever")
COMPARE = Choice(None, "exactly one is given")
CONDITION = Choice(None, "what isn't asked for may be anything")
ACTION = Choice(None, "a route has exactly one action")
SPLIT_ON = Choice(None, "each request by chance")
ROUTE_HASH_ON = Choice(None, "as the pool says")
REWRITE = Choice(None, "servers get what clients asked for")
ERRORS = Choice(None, "a line of text says what is wrong, or JSON to those who ask for it")
PAGE_FILE = Choice(None, "either this or a body is given")
PAGE_BODY = Choice(None, "either this or a file is given")
PAGE_TYPE = Choice(None, "by the file's ending; of a body HTML, JSON or text, as it begins")
EDITS = Choice(None, "what isn't named passes as it is")
TRUSTED = Choice(None, "anyone can write a header")
FORWARDED = Choice(None, "as given for each of its keys")
FORWARDED_HEADERS = Choice(
    ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"), "what frameworks look for"
)
REQUEST_ID = Choice(True, "a request can be found again in every log")
TRACEPARENT = Choice(False, "who traces begins it with a span of its own")
VIA = Choice("", "it says more than it helps")
ERROR_HEADER = Choice("x-fastlb-error", "a 502 of ours can be told from a server's")
ON_CLIENT_CLOSE = Choice(
    "cancel", "nobody is left to read the answer; but whoever only half-closes is, as with HAProxy"
)
MAX_DISCARD_SIZE = Limit(
    64 << 20, 0, 1 << 50, "browsers read an answer only once they have sent what they upload"
)
H2C = Choice(False, "only programs speak it, and they are told to")
MERGE_SLASHES = Choice(
    "match", "many servers take several for one, and a rule for /admin must not be walked around",
)
UNDERSCORES = Choice("drop", "CGI and WSGI take x_role for x-role, which a rule may be about")
PATH_PARAMETERS = Choice("pass", "few servers have them, and a path may contain a semicolon")
METHODS = Choice(None, "servers know best which methods they have")
KEPT_CLAIMS = Choice(None, "anyone can write a header, and servers believe these")
CLAIMS = (              # in the order of proto/fields
    "x-real-ip", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-server", "x-forwarded-ssl",
    "x-forwarded-scheme", "x-forwarded-client-cert", "x-original-url", "x-rewrite-url",
    "x-client-cert", "true-client-ip", "x-cluster-client-ip",
)
KEEP_QUERY = Choice(True, "a page that moved is asked for with the same parameters")
ROUTE_ORDER = Limit(0, -1000, 1000, "the most specific route is the one that is meant")
ROUTES = Choice(None, "a listener's pool is enough where there is one")
