"""A stand-in for the Hugging Face hub on this machine: what it says of a model it does not hand out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

__all__ = ["REFUSALS", "hub"]

# Name of a model -> status and the header by which the hub tells refusals apart (huggingface_hub's documentation of
# its errors: RepoNotFound and GatedRepo; without a token a name that does not exist is answered 401).
REFUSALS: dict[str, tuple[int, str]] = {
    "no/such-model": (401, "RepoNotFound"),
    "some/gated-model": (403, "GatedRepo"),
    "ill/hub": (503, ""),
}


@contextmanager
def hub() -> Iterator[tuple[str, list[str]]]:
    """(its address, the paths it was asked for)."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            status, code = next((said for name, said in REFUSALS.items() if f"/{name}/" in self.path), (404, ""))
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()
