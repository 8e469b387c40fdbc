"""A provider whose answers are written by a person: for tests, for trying a job out, and for teaching."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from autointerp.errors import BadJob, Unsupported
from autointerp.protocols import Capabilities, ChatReply, ChatRequest, Reply, Request
from autointerp.providers.settings import checked_settings
from autointerp.types import Usage

__all__ = ["ScriptedProvider"]

Answer: TypeAlias = "str | Reply | Exception"


class ScriptedProvider:
    """Answers from a script: a function of the request, or a table from the text of the last message to the answer.

    An answer is a text (of a conversation), a whole reply, or an exception, which is raised; a table may hold the key
    "" for all other texts. delay_s: how long each answer takes. `asked` lists the requests in the order they came.
    """

    def __init__(
        self,
        script: Callable[[Request], Answer] | Mapping[str, Answer],
        *,
        name: str = "scripted",
        capabilities: Capabilities | None = None,
        delay_s: float = 0.0,
    ) -> None:
        self.name = name
        self.asked: list[Request] = []
        self._script = script
        self._capabilities = capabilities or Capabilities(
            prompt_logprobs=True, generated_logprobs=True, json_mode=True, seed=True, single_token_ten=True
        )
        self._delay_s = delay_s

    @classmethod
    def configured(cls, model: str, settings: Mapping[str, Any]) -> ScriptedProvider:
        """From a job's settings: `path`, a JSON object from the last message's text to the answer's, and `delay_s`.

        Raises BadJob for other settings, and where the file is missing or no such object.
        """
        given = checked_settings("scripted", settings, _job_settings)
        path = Path(given["path"])
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadJob(f"{path}: cannot be read as a script ({error}): give a JSON object of answers") from error
        if not isinstance(table, dict) or not all(isinstance(answer, str) for answer in table.values()):
            raise BadJob(f"{path}: a script is a JSON object from the last message's text to the answer's")
        return cls(table, delay_s=given.get("delay_s", 0.0))

    def capabilities(self, model: str) -> Capabilities:
        return self._capabilities

    async def ask(self, request: Request) -> Reply:
        """The scripted reply. Raises what the script says, and Unsupported where it says nothing."""
        self.asked.append(request)
        await asyncio.sleep(self._delay_s)
        answer = self._find(request)
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, str):
            return answer
        if not isinstance(request, ChatRequest):
            raise Unsupported("the script answers a request for log-probabilities with a text: give an EchoReply")
        return ChatReply(answer, "stop", request.model, _usage(request, answer))

    async def close(self) -> None:
        """Nothing is held open."""

    def _find(self, request: Request) -> Answer:
        if callable(self._script):
            return self._script(request)
        text = request.messages[-1].content
        answer = self._script.get(text, self._script.get(""))
        if answer is None:
            raise Unsupported(f"the script has no answer to {text[:60]!r}: add one, or one under the key ''")
        return answer


def _job_settings(*, path: str, delay_s: float = 0.0) -> None:
    """The signature of a job's settings."""


def _usage(request: ChatRequest, answer: str) -> Usage:
    """Words stand for tokens: enough to see that sums add up."""
    return Usage(sum(len(message.content.split()) for message in request.messages), len(answer.split()))
