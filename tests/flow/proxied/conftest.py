from tests.flow.http.conftest import origins, web
from tests.flow.sniff.conftest import authority, edge, tls

__all__ = ["authority", "edge", "origins", "tls", "web"]
