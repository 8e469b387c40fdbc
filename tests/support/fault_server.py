"""An LLM server of both vendors' protocols that reads its prompts, and goes wrong as often as a test asks it to.

It answers what the protocol `openai` with the JSON simulator asks: an explanation that is one of a kind for each unit
(so that a test knows the unit again in a simulation's prompt), and a level for every token. What goes wrong depends on
the seed, the request and how often that request came, never on the order in which requests come: two runs of one job
suffer the same. `seen` is what a test holds the ledger against.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Lock, Thread
from typing import Any

__all__ = ["ANSWERED", "BAD_REPLIES", "PASSING", "Fault", "FaultServer", "Seen", "serving_faults"]


class Fault(StrEnum):
    """What can go wrong with one call."""

    RATE_LIMIT_WITH_WAIT = "429 with Retry-After"
    RATE_LIMIT = "429 without Retry-After"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    TIMEOUT = "no answer in time"
    TRICKLE = "an answer that trickles"
    DROPPED = "connection closed without an answer"
    CUT = "connection cut in the middle of the answer"
    TRUNCATED_JSON = "truncated JSON with status 200"
    EMPTY = "no choices"
    HTML = "an HTML page with status 200"
    WRONG_LENGTH = "a level too few"
    REFUSAL = "a refusal"


BAD_REPLIES = (Fault.TRUNCATED_JSON, Fault.EMPTY, Fault.HTML)
"""What is no reply of the protocol."""
ANSWERED = (Fault.WRONG_LENGTH, Fault.REFUSAL)
"""Whole replies of the protocol, which are paid for and say nothing. They stand."""
PASSING = tuple(one for one in Fault if one not in ANSWERED)
"""What may be over when the same is asked again."""

_MOST_IN_A_ROW = 2  # of what passes, so that no request uses up its attempts
_HTML = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
_STATUSES = {
    Fault.RATE_LIMIT_WITH_WAIT: 429,
    Fault.RATE_LIMIT: 429,
    Fault.SERVER_ERROR: 500,
    Fault.UNAVAILABLE: 503,
}


@dataclass(frozen=True)
class Seen:
    """One call: what was asked, what it would be answered without a fault, and what went wrong with it (None: nothing).

    prompt: the last message; explanation: the one that the call writes or simulates.
    """

    prompt: str
    explains: bool
    explanation: str
    fault: Fault | None


@dataclass
class FaultServer:
    """What goes wrong, with which share of the calls.

    passing: of single calls, each request's later ones come through; lasting: whenever the request comes.
    wait_s: what Retry-After says; slow_s: how long an answer takes that takes too long; delay_s: how long any takes.
    """

    passing: Sequence[Fault] = ()
    passing_share: float = 0.3
    lasting: Sequence[Fault] = ()
    lasting_share: float = 0.06
    seed: int = 0
    wait_s: float = 0.05
    slow_s: float = 30.0
    delay_s: float = 0.0
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    _times: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def fault_of(self, request: str, explains: bool) -> Fault | None:
        """What goes wrong with this call of the request, whichever protocol it comes in."""
        with self._lock:
            times = self._times[request]
            self._times[request] += 1
        passing = _drawn(f"{self.seed} {times} {request}", self.passing, self.passing_share)
        if passing is not None and times < _MOST_IN_A_ROW:
            return passing
        lasting = [one for one in self.lasting if not (explains and one is Fault.WRONG_LENGTH)]
        return _drawn(f"{self.seed} {request}", lasting, self.lasting_share)


def _drawn(seed: str, faults: Sequence[Fault], share: float) -> Fault | None:
    draw = Random(seed)
    return draw.choice(faults) if draw.random() < share and faults else None


@contextmanager
def serving_faults(**settings: Any) -> Iterator[FaultServer]:
    """A server on loopback while the block runs. settings: of `FaultServer`."""
    server = FaultServer(**settings)
    handler = type("Handler", (_Handler,), {"server_of": server})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        http.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: FaultServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        anthropic = self.path.endswith("/messages")
        prompt = _last_text(body["messages"])
        explains = not prompt.startswith("The unit responds to: ")
        fault = self.server_of.fault_of(prompt, explains)
        explanation = _explanation(prompt) if explains else _told(prompt)
        self.server_of.seen.append(Seen(prompt, explains, explanation, fault))
        text = explanation if explains else _levels(prompt, explanation, short=fault is Fault.WRONG_LENGTH)
        refused = fault is Fault.REFUSAL
        reply = (_message if anthropic else _completion)(body["model"], text, refused)
        if fault is Fault.EMPTY:
            reply |= {"content": None} if anthropic else {"choices": []}
        with suppress(ConnectionError):  # who asked may have had enough
            self._send(fault, json.dumps(reply).encode())

    def _send(self, fault: Fault | None, whole: bytes) -> None:
        server = self.server_of
        time.sleep(server.delay_s)
        if fault is Fault.DROPPED:
            self.close_connection = True
            return
        if fault is Fault.TIMEOUT:
            time.sleep(server.slow_s)
        status = _STATUSES.get(fault, 200) if fault else 200
        if status != 200:
            whole = json.dumps({"error": {"message": f"fault {status}", "type": "error"}}).encode()
        if fault is Fault.HTML:
            whole = _HTML
        if fault is Fault.TRUNCATED_JSON:
            whole = whole[: len(whole) // 2]
        self.send_response(status)
        self.send_header("content-type", "text/html" if fault is Fault.HTML else "application/json")
        self.send_header("content-length", str(len(whole)))
        if fault is Fault.RATE_LIMIT_WITH_WAIT:
            self.send_header("retry-after", str(server.wait_s))
        self.end_headers()
        if fault is Fault.CUT:
            whole = whole[: len(whole) // 2]
            self.close_connection = True
        if fault is Fault.TRICKLE:
            for place in range(len(whole)):
                self.wfile.write(whole[place : place + 1])
                time.sleep(server.slow_s / len(whole))
        else:
            self.wfile.write(whole)

    def log_message(self, *_: object) -> None:
        pass


def _last_text(messages: Sequence[Mapping[str, Any]]) -> str:
    content = messages[-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def _explanation(prompt: str) -> str:
    """One of a kind for each unit, as each unit's records are."""
    return f"texts of the sort {zlib.crc32(prompt.encode()):08x}"


def _told(prompt: str) -> str:
    return re.search(r"^The unit responds to: (.*?)\.?$", prompt, re.MULTILINE)[1]  # type: ignore[index]


def _levels(prompt: str, explanation: str, *, short: bool) -> str:
    """A level for every token, which differs between tokens and between explanations."""
    shown = re.findall(r"^Text \d+: (.*)$", prompt, re.MULTILINE)
    labels = [label for text in shown for label in json.loads(text)[: -1 if short else None]]
    return json.dumps({label: zlib.crc32((explanation + label).encode()) % 10 for label in labels})


def _completion(model: str, text: str, refused: bool) -> dict[str, Any]:
    said = {"content": None, "refusal": "I cannot help with that."} if refused else {"content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": f"{model}-served",
        "choices": [{"index": 0, "message": {"role": "assistant", **said}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


def _message(model: str, text: str, refused: bool) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": f"{model}-served",
        "content": [] if refused else [{"type": "text", "text": text}],
        "stop_reason": "refusal" if refused else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 100, "output_tokens": 10},
    }
