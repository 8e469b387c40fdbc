"""OpenAI's and Anthropic's batch endpoints on this machine, written from the vendors' documentation, not recorded.

What is documented and matters here: a batch takes a while; results come in any order, at OpenAI in two files; entries
expire, fail alone, or are refused; a batch of OpenAI's carries `metadata`, one of Anthropic's nothing; lists begin with
the newest batch and have pages; custom_ids are unique within a batch (Anthropic: 1-64 letters, digits, - and _).

`Vendor.ran` counts how often each request was run, which is what a vendor bills.
"""

from __future__ import annotations

import email
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["Fault", "Vendor", "serving_vendor"]

CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
PAGE = 2  # entries of a list, at most: so that tests see pages


@dataclass
class Fault:
    """What goes wrong with requests whose "METHOD /path" the pattern finds, so many times.

    status, body: answered instead of what was asked for; cut: the connection is closed without an answer, "before" the
    server does anything, or "after" it did what was asked; shorten: bytes that are missing at the end of the body.
    """

    pattern: str
    times: int = 1
    status: int = 0
    body: object = None
    cut: str = ""
    shorten: int = 0


@dataclass
class Batch:
    id: str
    requests: dict[str, dict[str, Any]]
    created_at: float
    metadata: dict[str, str]
    polls: int  # looks until it has ended
    results: dict[str, dict[str, Any]] | None = None
    failure: dict[str, str] | None = None
    cancelled: bool = False


@dataclass
class Vendor:
    """answer: the text that the model writes, from the body of a request. fate: what becomes of the n-th (0, 1, ...)
    try of an entry: "" it is run, "expired" or "cancelled" it is not, else the name of an error that it ends in.

    polls: looks until a batch has ended; queue: requests that may wait at OpenAI, None: any number.
    """

    url: str = ""
    answer: Callable[[dict[str, Any]], str] = lambda body: "answer to " + last_text(body)
    fate: Callable[[str, int], str] = lambda key, tries: ""
    polls: int = 2
    queue: int | None = None
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    ran: Counter[str] = field(default_factory=Counter)
    live: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fault(self, what: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and re.search(fault.pattern, what):
                fault.times -= 1
                return fault
        return None

    def batch(self, batch_id: str) -> Batch | None:
        return next((batch for batch in self.batches if batch.id == batch_id), None)

    def looked_at(self, batch: Batch) -> None:
        """Time passes for a batch when somebody looks at it."""
        batch.polls -= 1
        if batch.polls <= 0 and batch.results is None and batch.failure is None:
            batch.results = {key: self.result(key, body) for key, body in batch.requests.items()}

    def result(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        fate = self.fate(key, self.tries[key])
        self.tries[key] += 1
        if fate:
            return {"fate": fate}
        self.ran[key] += 1
        return {"body": body}

    def another_account(self) -> None:
        """From now on keys of another account are used: nothing has been asked with them, and no batch is listed."""
        for kept in (self.batches, self.files, self.tries, self.ran):
            kept.clear()

    def accept(self, requests: dict[str, dict[str, Any]], metadata: dict[str, str], prefix: str) -> Batch:
        batch = Batch(f"{prefix}{len(self.batches)}", requests, time.time(), metadata, self.polls)
        self.batches.append(batch)
        return batch


def last_text(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


# OpenAI


def completion(vendor: Vendor, body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": vendor.answer(body), "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": body["model"] + "-2026",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": len(last_text(body)), "completion_tokens": 5},
    }


OPENAI_ERRORS = {
    "bad request": (400, {"error": {"message": "no such field", "type": "invalid_request_error", "code": None}}),
    "too long": (400, {"error": {"message": "too long", "code": "context_length_exceeded", "type": "x"}}),
    "overloaded": (503, {"error": {"message": "overloaded", "type": "server_error", "code": None}}),
    "quota": (429, {"error": {"message": "no credit", "code": "insufficient_quota", "type": "insufficient_quota"}}),
}


def openai_line(vendor: Vendor, key: str, result: dict[str, Any]) -> dict[str, Any]:
    line: dict[str, Any] = {"id": f"batch_req_{key[:8]}", "custom_id": key, "response": None, "error": None}
    fate = result.get("fate")
    if fate in ("expired", "cancelled"):
        line["error"] = {"code": f"batch_{fate}", "message": "This request was not run."}
    elif fate:
        status, body = OPENAI_ERRORS[fate]
        line["response"] = {"status_code": status, "request_id": "r", "body": body}
    else:
        line["response"] = {"status_code": 200, "request_id": "r", "body": completion(vendor, result["body"])}
    return line


def openai_batch(vendor: Vendor, batch: Batch) -> dict[str, Any]:
    """The object; its files are made when it has ended."""
    body: dict[str, Any] = {"id": batch.id, "object": "batch", "endpoint": "/v1/chat/completions"}
    body |= {"created_at": int(batch.created_at), "metadata": batch.metadata, "completion_window": "24h"}
    body |= {"status": "in_progress", "output_file_id": None, "error_file_id": None, "errors": None}
    counts = {"total": len(batch.requests), "completed": 0, "failed": 0}
    if batch.failure is not None:
        return {**body, "status": "failed", "errors": {"object": "list", "data": [batch.failure]}}
    if batch.results is None:
        return {**body, "request_counts": counts}
    lines = [openai_line(vendor, key, result) for key, result in sorted(batch.results.items(), reverse=True)]
    good = [line for line in lines if line["response"] and line["response"]["status_code"] == 200]
    bad = [line for line in lines if line not in good]
    for name, kept in (("output_file_id", good), ("error_file_id", bad)):
        if kept:
            body[name] = f"file-{batch.id}-{name}"
            # As JSON may be written: what is not ASCII as it is, line separators of Unicode too.
            content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept).encode()
            vendor.files.setdefault(body[name], content)
    expired = any(result.get("fate") == "expired" for result in batch.results.values())
    status = "cancelled" if batch.cancelled else "expired" if expired else "completed"
    return {**body, "status": status, "request_counts": counts | {"completed": len(good), "failed": len(bad)}}


def openai_create(vendor: Vendor, body: dict[str, Any]) -> tuple[int, object]:
    if body["input_file_id"] not in vendor.files:
        return 400, {"error": {"message": "no such file", "code": None, "type": "invalid_request_error"}}
    assert (body["endpoint"], body["completion_window"]) == ("/v1/chat/completions", "24h")
    lines = [json.loads(line) for line in vendor.files[body["input_file_id"]].decode().split("\n") if line]
    keys = [line["custom_id"] for line in lines]
    assert all((line["method"], line["url"]) == ("POST", "/v1/chat/completions") for line in lines)
    batch = vendor.accept({line["custom_id"]: line["body"] for line in lines}, body.get("metadata") or {}, "batch_")
    if len(set(keys)) < len(keys):
        batch.failure = {"code": "duplicate_custom_id", "message": "custom_id is not unique"}
    elif len({line["body"]["model"] for line in lines}) > 1:
        batch.failure = {"code": "mismatched_model", "message": "one model in a file"}
    elif vendor.queue is not None and len(keys) > vendor.queue:
        batch.failure = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
    return 200, openai_batch(vendor, batch)


def openai_upload(vendor: Vendor, headers: Any, content: bytes) -> tuple[int, object]:
    message = email.message_from_bytes(b"content-type: " + headers["content-type"].encode() + b"\r\n\r\n" + content)
    parts = {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}
    assert parts["purpose"].get_payload() == "batch"
    name = f"file-{len(vendor.files)}"
    vendor.files[name] = parts["file"].get_payload(decode=True)
    return 200, {"id": name, "object": "file", "purpose": "batch", "bytes": len(vendor.files[name])}


def openai(vendor: Vendor, method: str, path: str, query: dict[str, str], headers: Any, content: bytes) -> Any:
    if (method, path) == ("POST", "/v1/files"):
        return openai_upload(vendor, headers, content)
    if (method, path) == ("POST", "/v1/chat/completions"):
        vendor.live.append(json.loads(content))
        return 200, completion(vendor, json.loads(content))
    if (method, path) == ("POST", "/v1/batches"):
        return openai_create(vendor, json.loads(content))
    if (method, path) == ("GET", "/v1/batches"):
        newest = vendor.batches[::-1]
        start = 1 + [batch.id for batch in newest].index(query["after"]) if "after" in query else 0
        page = newest[start : start + PAGE]
        listed = [openai_batch(vendor, batch) for batch in page]
        return 200, {"object": "list", "data": listed, "has_more": start + PAGE < len(newest)}
    parts = path.split("/")[2:]
    if method == "GET" and parts[0] == "files" and parts[1] in vendor.files and parts[2:] == ["content"]:
        return 200, vendor.files[parts[1]]
    batch = vendor.batch(parts[1]) if parts[0] == "batches" else None
    if batch is None:
        return 404, {"error": {"message": f"no {path}", "type": "invalid_request_error", "code": None}}
    if method == "POST" and parts[2:] == ["cancel"]:
        cancel(vendor, batch)
    vendor.looked_at(batch)
    return 200, openai_batch(vendor, batch)


# Anthropic


def message(vendor: Vendor, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"] + "-2026",
        "content": [{"type": "text", "text": vendor.answer(body)}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": len(last_text(body)), "output_tokens": 5},
    }


ANTHROPIC_ERRORS = {
    "bad request": {"type": "invalid_request_error", "message": "temperature: Extra inputs are not permitted"},
    "too long": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"},
    "overloaded": {"type": "overloaded_error", "message": "Overloaded"},
    "quota": {"type": "billing_error", "message": "no credit"},
}


def anthropic_line(vendor: Vendor, key: str, result: dict[str, Any]) -> dict[str, Any]:
    fate = result.get("fate")
    if fate in ("expired", "cancelled"):
        return {"custom_id": key, "result": {"type": {"cancelled": "canceled"}.get(fate, fate)}}
    if fate:
        error = {"type": "error", "request_id": None, "error": ANTHROPIC_ERRORS[fate]}
        return {"custom_id": key, "result": {"type": "errored", "error": error}}
    return {"custom_id": key, "result": {"type": "succeeded", "message": message(vendor, result["body"])}}


def anthropic_batch(vendor: Vendor, batch: Batch) -> dict[str, Any]:
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    if batch.results is None:
        counts["processing"] = len(batch.requests)
    for result in (batch.results or {}).values():
        kind = anthropic_line(vendor, "", result)["result"]["type"]
        counts[kind] += 1
    ended = batch.results is not None
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if ended else "in_progress",
        "request_counts": counts,
        "created_at": datetime.fromtimestamp(batch.created_at, UTC).isoformat().replace("+00:00", "Z"),
        "results_url": f"https://api.anthropic.com/v1/messages/batches/{batch.id}/results" if ended else None,
    }


def anthropic_create(vendor: Vendor, body: dict[str, Any]) -> tuple[int, object]:
    keys = [entry["custom_id"] for entry in body["requests"]]
    if len(set(keys)) < len(keys) or not all(CUSTOM_ID.fullmatch(key) for key in keys):
        error = {"type": "invalid_request_error", "message": "requests: custom_id"}
        return 400, {"type": "error", "error": error}
    batch = vendor.accept({entry["custom_id"]: entry["params"] for entry in body["requests"]}, {}, "msgbatch_")
    return 200, anthropic_batch(vendor, batch)


def anthropic(vendor: Vendor, method: str, path: str, query: dict[str, str], headers: Any, content: bytes) -> Any:
    if (method, path) == ("POST", "/v1/messages"):
        vendor.live.append(json.loads(content))
        return 200, message(vendor, json.loads(content))
    if (method, path) == ("POST", "/v1/messages/batches"):
        return anthropic_create(vendor, json.loads(content))
    if (method, path) == ("GET", "/v1/messages/batches"):
        newest = vendor.batches[::-1]
        start = 1 + [batch.id for batch in newest].index(query["after_id"]) if "after_id" in query else 0
        page = newest[start : start + PAGE]
        listed = [anthropic_batch(vendor, batch) for batch in page]
        last = page[-1].id if page else None
        return 200, {"data": listed, "has_more": start + PAGE < len(newest), "last_id": last}
    parts = path.split("/")[4:]
    batch = vendor.batch(parts[0])
    if batch is None or (parts[1:] == ["results"] and batch.results is None):
        return 404, {"type": "error", "error": {"type": "not_found_error", "message": f"no {path}"}}
    if parts[1:] == ["results"]:
        lines = [anthropic_line(vendor, *one) for one in sorted((batch.results or {}).items(), reverse=True)]
        return 200, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    if method == "POST" and parts[1:] == ["cancel"]:
        cancel(vendor, batch)
    vendor.looked_at(batch)
    return 200, anthropic_batch(vendor, batch)


def cancel(vendor: Vendor, batch: Batch) -> None:
    if batch.results is None:
        batch.cancelled = True
        batch.results = {key: {"fate": "cancelled"} for key in batch.requests}


@contextmanager
def serving_vendor() -> Iterator[Vendor]:
    """Both vendors at one address: OpenAI's base_url is `url` + "/v1", Anthropic's is `url`."""
    vendor = Vendor()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            url = urlsplit(self.path)
            with vendor.lock:
                vendor.asked.append(f"{self.command} {url.path}")
                fault = vendor.fault(vendor.asked[-1])
                if fault and fault.cut == "before":
                    self.close_connection = True
                    return
                if fault and fault.status:
                    status, body = fault.status, fault.body
                else:
                    query = {name: values[-1] for name, values in parse_qs(url.query).items()}
                    serve = anthropic if url.path.startswith("/v1/messages") else openai
                    status, body = serve(vendor, self.command, url.path, query, self.headers, content)
                if fault and fault.cut == "after":
                    self.close_connection = True
                    return
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            data = data[: len(data) - fault.shorten] if fault else data
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = handle_any

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        vendor.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield vendor
        http.shutdown()
        thread.join()
