"""http_keepalive with requests as a browser sends them, and answers of a web application."""

from dataclasses import replace

from bench.model import SMALL_EXCHANGE_BYTES, Target, Traffic
from bench.scenarios.http_keepalive import SCENARIO as KEEPALIVE_SCENARIO

# With the request line and Host: 12 fields, 692 bytes.
FIELDS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://bench.test/catalogue?page=3&sort=price",
    "Cookie: session=0f8fad5bd9cb469fa16570867728950e; theme=dark; consent=1; "
    "_ga=GA1.2.1437465023.1763899200; _gid=GA1.2.98220.1763899200",
    'sec-ch-ua: "Chromium";v="141", "Not?A_Brand";v="8"',
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Upgrade-Insecure-Requests: 1",
)

SCENARIO = replace(
    KEEPALIVE_SCENARIO,
    name="http_browser",
    title="HTTP/1.1, 64 keep-alive connections, a browser's requests",
    traffic=Traffic(64, "/page", SMALL_EXCHANGE_BYTES, "keep", FIELDS),
    targets=(Target(0.85, ("haproxy",)),),
    order=111,
    notes=("Requests have 12 header fields, 692 bytes in all; answers 12, and 101 bytes of body.",),
)
