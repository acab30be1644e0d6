from tests.flow.http.conftest import origins, web  # noqa: F401
