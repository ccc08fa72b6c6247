"""A web server for the tests of downloads."""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from unittest import mock


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@contextmanager
def serve(files: Mapping[str, bytes], cut: Collection[str] = (), asked: list[str] | None = None) -> Iterator[str]:
    """Serve `files` by their paths and yield the base address. Those in `cut` break off half-way.

    Requested paths are appended to `asked`.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(self.path[1:])
            data = files.get(self.path[1:])
            if data is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if self.path[1:] in cut else data)

        def log_message(self, *args: object) -> None:
            pass

    direct = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, mock.patch.dict(os.environ, direct):
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
