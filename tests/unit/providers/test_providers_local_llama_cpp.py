"""The backend llama_cpp gives what the other gives. Skipped where llama-cpp-python is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny_model import save_gguf

from autointerp.errors import BadInput, ContextOverflow, ProviderError, Unsupported
from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest, Message
from autointerp.providers.local.weights import LoadSettings, LocalModel, load

DIGITS = tuple("0123456789")
SYSTEM = Message("system", "You give the level of every word of the unknown text. " * 2)

INSTALLED = find_spec("llama_cpp") is not None
needs_llama_cpp = pytest.mark.skipif(not INSTALLED, reason="llama-cpp-python is not installed")


def test_it_reads_gguf_files_only(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="reads GGUF files"):
        load("tiny", str(tmp_path), LoadSettings(backend="llama_cpp"))
    with pytest.raises(BadInput, match="known are transformers, llama_cpp"):
        LoadSettings(backend="exllama")


@pytest.mark.skipif(INSTALLED, reason="llama-cpp-python is installed")
def test_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="pip install llama-cpp-python"):
        load("tiny", str(save_gguf(tmp_path / "tiny.gguf")), LoadSettings(backend="llama_cpp"))


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalModel, LocalModel]:
    path = str(save_gguf(tmp_path_factory.mktemp("models") / "tiny.gguf"))
    one = load("tiny", path, LoadSettings(dtype="float32", context=256, threads=1))
    return one, load("tiny", path, LoadSettings(backend="llama_cpp", context=256, threads=1))


def echo(text: str, candidates: tuple[str, ...] = DIGITS) -> EchoRequest:
    slots = tuple(place + 1 for place, character in enumerate(text) if character == "\t")
    return EchoRequest("tiny", (SYSTEM, Message("assistant", text)), slots, candidates)


def chat(text: str, **changes: object) -> ChatRequest:
    return ChatRequest("tiny", (SYSTEM, Message("user", text)), **{"max_tokens": 10, **changes})


@needs_llama_cpp
def test_the_numbers_and_answers_are_those_of_the_other_backend(backends: tuple[LocalModel, LocalModel]) -> None:
    texts = [" the\tunknown\n text\tunknown\n", " the\tunknown\n words<|im_end|>\tunknown\n", " the\t."]
    replies = [model.echo([echo(text) for text in texts]) for model in backends]
    for expected, reply in zip(*replies, strict=True):
        assert isinstance(expected, EchoReply)
        assert isinstance(reply, EchoReply)
        for row, numbers in zip(reply.logprobs, expected.logprobs, strict=True):
            assert row == pytest.approx(numbers, abs=2e-2)  # llama.cpp keeps float16 keys and values
        assert reply.usage.prompt_tokens == expected.usage.prompt_tokens
        assert reply.model_served == expected.model_served
    questions = [chat("Go"), chat("by"), chat("Go", temperature=1.3, seed=4), chat("Go", stop=("e",))]
    answers = [model.chat(questions) for model in backends]
    for expected_answer, answer in zip(*answers, strict=True):
        assert isinstance(expected_answer, ChatReply)
        assert isinstance(answer, ChatReply)
        assert (answer.text, answer.finish) == (expected_answer.text, expected_answer.finish)


@needs_llama_cpp
def test_each_request_has_its_own_error(backends: tuple[LocalModel, LocalModel]) -> None:
    _, model = backends
    good, two, long = model.echo([echo(" the\t."), echo(" the\t.", ("0", "10")), echo(" the\tunknown\n" * 90)])
    assert isinstance(good, EchoReply)
    assert isinstance(two, Unsupported)
    assert isinstance(long, ContextOverflow)
    [json_mode, turn] = model.chat([chat("Go", json_mode=True), ChatRequest("tiny", (Message("tool", "x"),), 4)])
    assert isinstance(json_mode, ProviderError)
    assert "no such role" in str(turn)


@needs_llama_cpp
def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = save_gguf(tmp_path / "tiny.gguf")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BadInput, match="cannot be loaded as a model"):
        load("tiny", str(path), LoadSettings(backend="llama_cpp"))
