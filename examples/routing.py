"""Functions that full.toml names."""

import fastlb


def by_tenant(request: fastlb.Request) -> fastlb.Decision:
    """A tenant's documents are together, in a pool of its own where it has one."""
    if "authorization" not in request.headers:
        return fastlb.Response(401, json={"error": "who are you?"})
    if request.headers.get("x-tenant") == "large":
        return "api"
    return None


def by_first_bytes(connection: fastlb.Connection) -> fastlb.Decision:
    """Who speaks HTTP is in the wrong place."""
    return fastlb.Close() if connection.data.startswith(b"GET ") else None
