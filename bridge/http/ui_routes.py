"""The web view at `/ui`: a page and its parts, served from this package and from nowhere else.

It holds nothing of anybody: the page asks the API with the token that its reader gives it.
"""

import mimetypes
from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from bridge.errors import NotFound
from bridge.http.rest_routes import exchange_of

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_TYPES = {".js": "text/javascript; charset=utf-8", ".txt": "text/plain; charset=utf-8"}


def ui_routes() -> APIRouter:
    """Make the routes of the web view; its files are read once."""
    router = APIRouter(include_in_schema=False)
    parts = _files()

    @router.get("/ui")
    async def folder(request: Request) -> Response:
        """Send to the folder, below which the page finds its parts."""
        exchange_of(request).route = "ui"
        return RedirectResponse("ui/", headers=HEADERS)

    @router.get("/ui/{name:path}")
    async def part(request: Request, name: str) -> Response:
        """Give the page or one of its parts."""
        exchange_of(request).route = "ui"
        found = parts.get(name or "index.html")
        if found is None:
            raise NotFound(f"there is nothing at /ui/{name[:80]}; the web view is at /ui")
        content, kind = found
        return Response(content, media_type=kind, headers=HEADERS)

    return router


def _files() -> dict[str, tuple[bytes, str]]:
    found: dict[str, tuple[bytes, str]] = {}
    top = files("bridge.http") / "ui"
    for folder, prefix in ((top, ""), (top / "vendor", "vendor/")):
        for file in folder.iterdir():
            if file.is_file():
                suffix = f".{file.name.rpartition('.')[2]}"
                kind = _TYPES.get(suffix) or mimetypes.guess_type(file.name)[0] or "text/plain"
                found[prefix + file.name] = file.read_bytes(), kind
    return found
