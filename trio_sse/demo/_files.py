"""The files of the page, which the package has with it."""

from pathlib import Path

from starlette.responses import Response
from starlette.routing import Route

FILES = {
    "index.html": "text/html",
    "style.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}

# Nothing comes from anywhere else.
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def file_routes() -> list[Route]:
    """Return a route for each file; the page itself is at the root."""
    folder = Path(__file__).with_name("page")
    return [
        Route(
            "/" if name == "index.html" else f"/{name}",
            Response((folder / name).read_bytes(), media_type=kind, headers=HEADERS),
        )
        for name, kind in FILES.items()
    ]
