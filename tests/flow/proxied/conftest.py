from tests.flow.http.conftest import origins, web

__all__ = ["origins", "web"]
