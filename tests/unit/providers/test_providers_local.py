"""The provider of models in process: its queue, its files, and that a replay needs neither model nor torch."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from provider_samples import chat_request, echo_reply, echo_request

from autointerp.errors import BadInput, ContextOverflow, ProviderError, Transient
from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest, Message, Provider
from autointerp.providers.local import LocalProvider, weights
from autointerp.types import Usage


class FakeModel:
    """Stands for the loaded model: answers with the question, and notes what it was given, and in which thread."""

    def __init__(self) -> None:
        self.given: list[object] = []
        self.threads: set[str] = set()
        self.inside = 0

    def chat(self, requests: list[ChatRequest]) -> list[ChatReply | ProviderError]:
        self.note([request.messages[-1].content for request in requests])
        return [self.answer(request) for request in requests]

    def answer(self, request: ChatRequest) -> ChatReply | ProviderError:
        text = request.messages[-1].content
        if text == "broken":
            raise RuntimeError("out of memory\nand a trace")
        if text == "mistake":
            raise TypeError("a mistake of ours")
        return ContextOverflow("long") if text == "long" else ChatReply(text, "stop", request.model, Usage())

    def echo(self, requests: list[EchoRequest]) -> list[EchoReply | ProviderError]:
        self.note(len(requests))
        return [echo_reply() for _ in requests]

    def note(self, what: object) -> None:
        self.inside += 1
        assert self.inside == 1, "two passes at once"
        self.given.append(what)
        self.threads.add(threading.current_thread().name)
        self.inside -= 1


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    fake = FakeModel()
    monkeypatch.setattr(weights, "load", lambda name, source, settings: fake)
    return fake


async def test_questions_that_wait_are_of_one_kind_are_answered_together(model: FakeModel) -> None:
    provider = LocalProvider({"m": "model.gguf"}, batch=3)
    assert isinstance(provider, Provider)
    requests = [
        chat_request("a"),
        echo_request(),
        *(chat_request(text) for text in "bcd"),
        chat_request("e", model="n"),
        echo_request("\t.\t"),
    ]
    replies = await asyncio.gather(*map(provider.ask, requests))
    assert model.given == [["a", "b", "c"], 2, ["d"], ["e"]]
    assert [reply.text for reply in replies if isinstance(reply, ChatReply)] == list("abcde")
    assert replies[1] == replies[-1] == echo_reply()
    assert len(model.threads) == 1
    assert threading.current_thread().name not in model.threads
    await provider.ask(chat_request("later"))
    assert model.given[-1] == ["later"]
    await provider.close()


async def test_an_error_belongs_to_the_question_it_came_from(model: FakeModel) -> None:
    provider = LocalProvider({"m": "model.gguf"})
    good, bad = await asyncio.gather(
        provider.ask(chat_request("good")), provider.ask(chat_request("long")), return_exceptions=True
    )
    assert isinstance(good, ChatReply)
    assert isinstance(bad, ContextOverflow)
    with pytest.raises(ProviderError, match="out of memory") as caught:
        await provider.ask(chat_request("broken"))
    assert not isinstance(caught.value, Transient)
    assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="a mistake of ours"):  # it is not hidden, and nobody is left waiting
        await provider.ask(chat_request("mistake"))
    assert isinstance(await provider.ask(chat_request("after")), ChatReply)
    await provider.close()


async def test_a_cancelled_question_is_not_computed(model: FakeModel) -> None:
    provider = LocalProvider({"m": "model.gguf"})
    first, second = (asyncio.create_task(provider.ask(chat_request(text))) for text in ("kept", "dropped"))
    await asyncio.sleep(0)
    second.cancel()
    assert isinstance(await first, ChatReply)
    await asyncio.gather(second, return_exceptions=True)
    await provider.close()
    assert model.given == [["kept"]]


async def test_it_serves_one_event_loop_after_another(model: FakeModel) -> None:
    provider = LocalProvider({"m": "model.gguf"})
    replies = [await asyncio.to_thread(asyncio.run, provider.ask(chat_request(text))) for text in ("one", "two")]
    assert [reply.text for reply in replies] == ["one", "two"]
    await provider.close()


def test_what_it_can_do_is_the_same_whether_or_not_the_model_is_there() -> None:
    can = LocalProvider(context=2048).capabilities("nowhere")
    assert (can.prompt_logprobs, can.generated_logprobs, can.seed, can.json_mode) == (True, True, True, False)
    assert (can.context_tokens, can.single_token_ten) == (2048, False)
    assert LocalProvider(single_token_ten=True).capabilities("any").single_token_ten


async def refused(provider: LocalProvider, name: str = "m") -> str:
    """The one line in which both the check and the question end."""
    with pytest.raises(BadInput) as checked:
        provider.check(name)
    with pytest.raises(BadInput) as asked:
        await provider.ask(chat_request(model=name))
    await provider.close()
    assert str(checked.value) == str(asked.value)
    assert "\n" not in str(asked.value)
    return str(asked.value)


async def test_files_that_are_no_models(tmp_path: Path) -> None:
    text, folder = tmp_path / "notes.gguf", tmp_path / "folder"
    text.write_text("not a model")
    folder.mkdir()
    assert "not a GGUF file" in await refused(LocalProvider({"m": text}))
    assert "no config.json" in await refused(LocalProvider({"m": folder}))
    for missing in (tmp_path / "missing.gguf", "relative.gguf", "./folder-that-is-not"):
        line = await refused(LocalProvider({"m": missing}))
        assert "no such model file or folder" in line
        assert Path(missing).name in line
    (tmp_path / "empty.gguf").touch()
    assert "not a GGUF file" in await refused(LocalProvider({"m": tmp_path / "empty.gguf"}))


async def test_a_path_is_not_taken_for_a_name(tmp_path: Path) -> None:
    assert "give the model a name beside its path" in await refused(LocalProvider(), str(tmp_path))


def test_settings_that_do_not_exist() -> None:
    with pytest.raises(BadInput, match="known are auto, float32"):
        LocalProvider(dtype="int3")


@pytest.mark.parametrize("package", ["torch", "transformers", "gguf"])
async def test_a_missing_package_is_one_line_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(20))
    monkeypatch.setitem(sys.modules, package, None)
    provider = LocalProvider({"m": tmp_path / "m.gguf"})
    with pytest.raises(BadInput, match=rf"needs {package}: pip install 'autointerp\[local\]'"):
        await provider.ask(chat_request())
    await provider.close()


def test_a_replay_loads_neither_model_nor_torch(tmp_path: Path) -> None:
    code = """
        import asyncio, sys
        sys.path.insert(0, sys.argv[2])
        from provider_samples import NOON, chat_reply, chat_request, echo_reply, echo_request
        from autointerp.providers.ledger import Ledger
        from autointerp.providers.local import LocalProvider
        from autointerp.providers.model import LedgeredModel

        async def main():
            async with Ledger(sys.argv[1]) as ledger:
                for request, reply in ((chat_request(), chat_reply()), (echo_request(), echo_reply())):
                    await ledger.record("local", request, reply, asked_at=NOON, seconds=1)
                provider = LocalProvider({"m": "/nowhere/m.gguf"})
                model = LedgeredModel(provider, "m", ledger, replay_only=True)
                assert model.capabilities().prompt_logprobs
                assert (await model.chat(chat_request()))[1] == chat_reply()
                assert (await model.echo(echo_request()))[1] == echo_reply()
                await provider.close()

        asyncio.run(main())
        print(sorted({"torch", "transformers", "openai", "gguf"} & set(sys.modules)))
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "l.sqlite"), str(Path(__file__).parent)]
    root = Path(__file__).parents[3]
    done = subprocess.run(
        arguments, capture_output=True, text=True, check=False, cwd=root, env={"PYTHONPATH": str(root)}
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("bytes_kept", [4, 9, 20])
async def test_a_gguf_file_cut_within_its_header_is_one_line(tmp_path: Path, bytes_kept: int) -> None:
    pytest.importorskip("gguf")
    path = tmp_path / "cut.gguf"
    path.write_bytes((b"GGUF" + (3).to_bytes(4, "little") + bytes(16))[:bytes_kept])
    with pytest.raises(BadInput, match="cannot be loaded as a model") as caught:
        await LocalProvider({"m": path}).ask(ChatRequest("m", (Message("user", "hello"),), 3))
    assert "\n" not in str(caught.value)
