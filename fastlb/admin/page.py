"""The dashboard: three files, and what a browser may do with them."""

from __future__ import annotations

from importlib.resources import files

from aiohttp import web

# Nothing from elsewhere, nothing inline, and no frame of another page around it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILES = {
    "/": ("index.html", "text/html"),
    "/dashboard.js": ("dashboard.js", "text/javascript"),
    "/dashboard.css": ("dashboard.css", "text/css"),
}


def routes() -> list[web.RouteDef]:
    return [web.get(path, _page) for path in FILES]


async def _page(request: web.Request) -> web.Response:
    name, kind = FILES[request.path]
    text = (files("fastlb.observe") / "dashboard" / name).read_text(encoding="utf-8")
    return web.Response(
        text=text, content_type=kind, charset="utf-8", headers={"content-security-policy": POLICY}
    )
