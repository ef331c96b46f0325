"""The status page's server: HTTP on this machine alone, to look and not to touch.

It listens on the loopback address only, answers GET and HEAD, changes nothing, and refuses requests that
came under another host's name (a page elsewhere whose name was made to point here, "DNS rebinding").
From another machine: ``ssh -L 8080:127.0.0.1:8080 BOX``. A page that cannot be shown stops nothing.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlsplit

import structlog

if TYPE_CHECKING:
    from edge_app.web.status import BoxStatus

_log = structlog.get_logger(__name__)
ADDRESS: Final = "127.0.0.1"
_HOSTS: Final = frozenset({"127.0.0.1", "localhost"})
_FILES: Final = {"/": ("page.html", "text/html"), "/page.js": ("page.js", "text/javascript")}
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
#: A connection that says nothing for so long is closed.
_SILENT_S: Final = 10.0


class StatusServer:
    """Serves `status` at `port` of this machine in threads of its own.

    Args:
        status: what to show.
        port: TCP port; 0 takes a free one.
    """

    def __init__(self, status: BoxStatus, *, port: int) -> None:
        self.status = status
        self._port = port
        self._server: ThreadingHTTPServer | None = None

    @property
    def port(self) -> int | None:
        """The port on which it listens, None where it does not."""
        return None if self._server is None else int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to listen; a port that is taken is logged, and the box goes on without its page."""
        try:
            self._server = _Server((ADDRESS, self._port), self.status)
        except OSError as error:
            _log.error(
                "status_page_not_shown",
                port=self._port,
                reason=error.strerror or str(error),
                fix="give web.port a free port, or null",
            )
            return
        threading.Thread(target=self._server.serve_forever, name="status-page", daemon=True).start()
        _log.info("status_page", url=f"http://{ADDRESS}:{self.port}/")

    def stop(self) -> None:
        """Listen no more. Safe to call twice."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], status: BoxStatus) -> None:
        self.status = status
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's names
        """A browser that went away is no news."""
        _log.debug("status_page_request_failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server_version = "dsr-edge"
    sys_version = ""
    timeout = _SILENT_S

    def do_GET(self) -> None:
        """Answer with the page, the status or a picture."""
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in _HOSTS:
            self._answer(403, b"ask for 127.0.0.1 or localhost\n")
            return
        found = self._find(unquote(urlsplit(self.path).path))
        if found is None:
            self._answer(404, b"there is nothing here\n")
            return
        self._answer(200, *found)

    do_HEAD = do_GET  # noqa: N815 - the base class looks for these names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Keep a page that asks once a second out of the log."""

    def _find(self, path: str) -> tuple[bytes, str] | None:
        status = cast("_Server", self.server).status
        if path in _FILES:
            name, kind = _FILES[path]
            return resources.files("edge_app.web").joinpath(name).read_bytes(), f"{kind}; charset=utf-8"
        if path == "/status.json":
            return json.dumps(status.document()).encode(), "application/json"
        if path.startswith("/camera/") and path.endswith(".jpg"):
            picture = status.picture(path.removeprefix("/camera/").removesuffix(".jpg"))
            return None if picture is None else (picture, "image/jpeg")
        return None

    def _answer(self, code: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(code)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
