AVAILABLE: bool
H2_AVAILABLE: bool
NGHTTP2: str
OPENSSL: str
CHAIN_MAX: int

class Certificate:
    names: tuple[str, ...]
    not_before: int
    not_after: int
    algorithm: str
    fingerprint: str
    subject: str
    def __init__(self, cert: bytes, key: bytes, password: bytes | None = None) -> None: ...

def check_authorities(pem: bytes) -> int: ...
def check_revocations(pem: bytes) -> int: ...
def self_signed(names: list[str], days: int) -> tuple[bytes, bytes]: ...
