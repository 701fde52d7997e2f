"""A server of HTTP that answers as other servers do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def answering(status: int, body: Any, *, elastic: bool = False) -> Iterator[int]:
    """Answers everything with the same; gives its port. `elastic`: with the header of Elasticsearch."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            self.send_header(
                "content-type", "text/html" if isinstance(body, str) else "application/json; charset=UTF-8"
            )
            self.send_header("content-length", str(len(content)))
            if elastic:
                self.send_header("x-elastic-product", "Elasticsearch")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815 - names of the library

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
