"""An HTTP server on this machine that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Answer:
    """body: bytes, or what becomes JSON.

    cut: how many bytes less are sent than the header says; trickle_s: the pause after each byte; dropped: the
    connection is closed without an answer; delay_s: before it.
    """

    body: object
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cut: int = 0
    trickle_s: float = 0.0
    dropped: bool = False
    delay_s: float = 0.0


@dataclass
class Server:
    """answers: taken one after another, the last again and again; asked: (path, headers, body) of each request."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str], dict[str, object]]] = field(default_factory=list)


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.asked.append((self.path, headers, json.loads(self.rfile.read(length))))
            answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            if answer.dropped:
                self.close_connection = True
                return
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            time.sleep(answer.delay_s)
            self.send_response(answer.status)
            self.send_header("content-type", answer.content_type)
            self.send_header("content-length", str(len(body) + answer.cut))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            with suppress(ConnectionError):  # who asked may have had enough
                self.end_headers()
                self._write(body, answer.trickle_s)
            self.close_connection = bool(answer.cut)

        def _write(self, body: bytes, trickle_s: float) -> None:
            for piece in [body[place : place + 1] for place in range(len(body))] if trickle_s else [body]:
                self.wfile.write(piece)
                time.sleep(trickle_s)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        server.url = f"http://127.0.0.1:{http.server_port}/v1"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        http.shutdown()
        thread.join()
