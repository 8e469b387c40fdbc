"""The provider of models in process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from autointerp.errors import BadInput, ProviderError
from autointerp.protocols import Capabilities, ChatRequest, EchoRequest, Reply, Request
from autointerp.providers.local import weights
from autointerp.providers.settings import checked_settings

__all__ = ["LocalProvider"]


@dataclass(frozen=True, slots=True)
class _Asked:
    request: Request
    answer: asyncio.Future[Reply]


class LocalProvider:
    """Models in this process, with log-probabilities of prompts: Hugging Face names or folders, and GGUF files.

    models: where each model is (a GGUF file or a model folder) by the name that requests give it. The name is in the
    ledger's keys, so it is the same on every machine; the path is not. A name without an entry is a Hugging Face name.
    backend, dtype, threads, context, prefixes: see `LoadSettings`. batch: most answers to generate together (they cost
    little more than one: reading the weights is what takes the time). single_token_ten: the person's word that "10" is
    one token for these models.

    Nothing is loaded before the first question, so a run whose replies are all in the ledger needs neither the model
    nor torch. Computing runs in one thread, one pass at a time; questions that arrive meanwhile are answered together.
    """

    name = "local"

    def __init__(
        self,
        models: Mapping[str, str | PathLike[str]] | None = None,
        *,
        backend: str = "transformers",
        dtype: str = "auto",
        threads: int | None = None,
        context: int = 8192,
        prefixes: int = 4,
        batch: int = 8,
        single_token_ten: bool = False,
    ) -> None:
        self._sources = {name: fspath(path) for name, path in (models or {}).items()}
        self._settings = weights.LoadSettings(backend, dtype, threads, context, prefixes)
        self._batch = batch
        self._capabilities = Capabilities(
            prompt_logprobs=True,
            generated_logprobs=True,
            seed=True,
            context_tokens=context,
            single_token_ten=single_token_ten,
        )
        self._loaded: dict[str, weights.LocalModel] = {}
        self._waiting: deque[_Asked] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="local-model")

    @classmethod
    def configured(cls, model: str, settings: Mapping[str, Any]) -> LocalProvider:
        """From a job's settings: `path` is where `model` is; the others are those of the constructor.

        Raises BadJob for a setting that is unknown or of another type.
        """
        places = {} if settings.get("path") is None else {model: settings["path"]}
        others = {name: value for name, value in settings.items() if name != "path"}
        return cls(places, **checked_settings("local", others, cls.__init__))

    def capabilities(self, model: str) -> Capabilities:
        """What models in process can do; the same whether or not they are loaded."""
        return self._capabilities

    def check(self, model: str) -> None:
        """Raises BadInput where the model's files are missing or of another kind. Loads nothing."""
        weights.check(self._source(model))

    async def ask(self, request: Request) -> Reply:
        """The reply, in its turn. Raises BadInput where the model cannot be loaded, and a ProviderError as usual."""
        asked = _Asked(request, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await asked.answer

    async def close(self) -> None:
        """Lets go of the models. Questions still waiting are cancelled."""
        for asked in self._waiting:
            asked.answer.cancel()
        self._waiting.clear()
        if self._worker is not None and not self._worker.done():
            await asyncio.wait([self._worker])
        await asyncio.to_thread(self._thread.shutdown)
        self._loaded.clear()

    async def _work(self) -> None:
        await asyncio.sleep(0)  # questions asked in the same breath are answered together
        loop = asyncio.get_running_loop()
        while batch := self._next():
            work = loop.run_in_executor(self._thread, self._answer, [asked.request for asked in batch])
            await asyncio.wait([work])
            error = work.exception()  # of the whole batch; whatever it is, nobody may be left waiting
            for asked, outcome in zip(batch, [error] * len(batch) if error else work.result(), strict=True):
                if asked.answer.done():
                    continue
                if isinstance(outcome, BaseException):
                    asked.answer.set_exception(outcome)
                else:
                    asked.answer.set_result(outcome)

    def _next(self) -> list[_Asked]:
        """The oldest question, and others of its kind for the same model that wait beside it."""
        self._waiting = deque(asked for asked in self._waiting if not asked.answer.done())
        if not self._waiting:
            return []
        first = self._waiting.popleft()
        kind = (type(first.request), first.request.model)
        alike = [asked for asked in self._waiting if (type(asked.request), asked.request.model) == kind]
        del alike[self._batch - 1 :]
        for asked in alike:
            self._waiting.remove(asked)
        return [first, *alike]

    def _answer(self, requests: list[Request]) -> Sequence[Reply | ProviderError]:
        """Runs in the worker's thread. An error that belongs to one question is its outcome; others are raised."""
        model = self._model(requests[0].model)
        chats = [request for request in requests if isinstance(request, ChatRequest)]
        echoes = [request for request in requests if isinstance(request, EchoRequest)]
        try:
            return model.chat(chats) if chats else model.echo(echoes)
        except (RuntimeError, MemoryError) as error:  # torch's errors, most often of memory
            raise ProviderError(f"the model in process failed: {weights.first_line(error)}") from error

    def _model(self, name: str) -> weights.LocalModel:
        if name not in self._loaded:
            self._loaded[name] = weights.load(name, self._source(name), self._settings)
        return self._loaded[name]

    def _source(self, model: str) -> str:
        source = self._sources.get(model, model)
        if source == model and Path(model).expanduser().exists():
            raise BadInput(f"{model}: give the model a name beside its path: the ledger's keys hold the name")
        return source
