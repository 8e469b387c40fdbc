"""A model in process against the plain forward pass of the library, on a tiny random model."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from tiny_model import network, save_folder, save_gguf, tokenizer
from transformers import PreTrainedTokenizerFast

from autointerp.errors import BadInput, ContextOverflow, ProviderError, Unsupported
from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest, Message
from autointerp.providers.local.hugging_face import HuggingFaceVocabulary
from autointerp.providers.local.linear import ExactHead, pack_linears
from autointerp.providers.local.model import CausalModel
from autointerp.providers.local.tokens import ChatTokenizer
from autointerp.providers.local.weights import LoadSettings, load

DIGITS = tuple("0123456789")
SYSTEM = Message("system", "You give the level of every word of the unknown text, one by one. " * 3)


def echo(text: str, system: Message = SYSTEM, candidates: tuple[str, ...] = DIGITS) -> EchoRequest:
    slots = tuple(place + 1 for place, character in enumerate(text) if character == "\t")
    return EchoRequest("tiny", (system, Message("user", "Go on"), Message("assistant", text)), slots, candidates)


def chat(text: str, **changes: object) -> ChatRequest:
    body = {"model": "tiny", "messages": (SYSTEM, Message("user", text)), "max_tokens": 12, **changes}
    return ChatRequest(**body)


def model(prefixes: int = 0, context: int = 512) -> CausalModel:
    words = tokenizer()
    return CausalModel(
        copy.deepcopy(network(len(words))),
        spoken(words),
        served="tiny@0",
        context=context,
        prefixes=prefixes,
    )


def spoken(words: PreTrainedTokenizerFast) -> ChatTokenizer:
    return ChatTokenizer(HuggingFaceVocabulary(words), "tiny")


def ask(tiny: CausalModel, request: EchoRequest) -> EchoReply:
    """The reply to one request; its error is raised."""
    [reply] = tiny.echo([request])
    if isinstance(reply, ProviderError):
        raise reply
    return reply


def prompt(messages: tuple[Message, ...]) -> str:
    """The template's text, written by hand."""
    turns = "".join(f"<|im_start|>{turn.role}\n{turn.content.strip()}<|im_end|>\n" for turn in messages)
    return turns + "<|im_start|>assistant\n"


def reference(pieces: list[str]) -> torch.Tensor:
    """Log-probabilities [len(pieces) - 1, vocabulary] of what follows each piece but the last, by one plain pass."""
    words = tokenizer()
    ids: list[int] = []
    ends = []
    for piece in pieces:
        ids += words.encode(piece, add_special_tokens=False)
        ends.append(len(ids) - 1)
    with torch.inference_mode():
        logits = network(len(words))(torch.tensor([ids])).logits[0]
    return torch.log_softmax(logits.double(), -1)[ends[:-1]]


def test_echo_gives_the_log_probabilities_of_the_plain_pass_at_the_slots() -> None:
    request = echo(" the\tunknown\n text\tunknown\n,\tunknown\n")
    pieces = [prompt(request.messages[:-1]) + " the\t", "unknown\n text\t", "unknown\n,\t", "unknown\n"]
    digits = [tokenizer().convert_tokens_to_ids(digit) for digit in DIGITS]
    expected = reference(pieces)[:, digits]
    reply = ask(model(), request)
    assert torch.allclose(torch.tensor(reply.logprobs, dtype=torch.float64), expected, atol=2e-5)
    assert reply.model_served == "tiny@0"
    assert all(value == round(value, 5) for row in reply.logprobs for value in row if value is not None)


def test_a_slot_at_the_very_end_and_whitespace_that_the_template_would_trim_are_kept() -> None:
    request = echo("\n the\tunknown\n by\t")
    pieces = [prompt(request.messages[:-1]) + "\n the\t", "unknown\n by\t", "."]
    zero = tokenizer().convert_tokens_to_ids("0")
    reply = ask(model(), request)
    assert [row[0] for row in reply.logprobs] == pytest.approx(reference(pieces)[:, zero].tolist(), abs=2e-5)


def test_what_stands_at_a_slot_and_after_it_does_not_change_it_but_stays_in_the_context() -> None:
    one, other = (ask(model(), echo(f" the\t{word}\n text\tunknown\n")) for word in ("unknown", "9"))
    assert one.logprobs[0] == pytest.approx(other.logprobs[0], abs=2e-5)
    assert one.logprobs[1] != pytest.approx(other.logprobs[1], abs=1e-2)


def test_a_candidate_of_two_tokens_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match=r"'10' as 2 tokens.*0-9"):
        ask(model(), echo(" the\tunknown\n", candidates=(*DIGITS, "10")))


@pytest.mark.parametrize("prefixes", [1, 4])
def test_reusing_prefixes_changes_no_number_and_saves_the_work(prefixes: int) -> None:
    other = Message("system", "Another beginning altogether.")
    requests = [
        echo(" the\tunknown\n text\tunknown\n"),
        echo(" the\tunknown\n words\tunknown\n"),
        echo(" one\tunknown\n", other),
        chat("What is it?"),
        echo(" the\tunknown\n text\tunknown\n"),
        echo(" the\tunknown\n"),
        chat("What is it?"),
    ]
    keeping = model(prefixes)
    for request in requests:
        fresh = model(0)
        if isinstance(request, EchoRequest):
            kept, plain = ask(keeping, request), ask(fresh, request)
            for row, expected in zip(kept.logprobs, plain.logprobs, strict=True):
                assert row == pytest.approx(expected, abs=5e-5)
        else:
            [answer], [expected_answer] = keeping.chat([request]), fresh.chat([request])
            assert isinstance(answer, ChatReply)
            assert isinstance(expected_answer, ChatReply)
            assert answer.text == expected_answer.text
        assert plain.usage.cached_prompt_tokens == 0
    again = ask(keeping, requests[0])
    assert again.usage.cached_prompt_tokens > again.usage.prompt_tokens / 2
    assert ask(keeping, requests[0]).logprobs == again.logprobs


@pytest.mark.parametrize("prefixes", [0, 1, 4])
def test_prompts_of_unequal_length_and_history_are_read_together_as_each_alone(prefixes: int) -> None:
    other = Message("system", "Another beginning altogether, which is a good deal longer than the first one was. " * 2)
    texts = [" the\tunknown\n", " the\tunknown\n text\tunknown\n,\tunknown\n", " one\tunknown\n by\tunknown\n"]
    requests = [echo(text, system) for system in (SYSTEM, other) for text in (*texts, texts[0])]
    too_long, two_tokens = echo(" the\tunknown\n" * 200), echo(" the\tunknown\n", candidates=("0", "10"))
    together = model(prefixes)
    ask(together, echo(" of\tunknown\n"))  # one of the two beginnings is known already
    replies = together.echo([requests[0], too_long, *requests[1:], two_tokens])
    assert isinstance(replies.pop(1), ContextOverflow)
    assert isinstance(replies.pop(), Unsupported)
    for request, reply in zip(requests, replies, strict=True):
        assert isinstance(reply, EchoReply)
        for row, expected in zip(reply.logprobs, ask(model(), request).logprobs, strict=True):
            assert row == pytest.approx(expected, abs=5e-5)
    usages = [reply.usage for reply in replies if isinstance(reply, EchoReply)]
    mostly_known = [usage.cached_prompt_tokens > usage.prompt_tokens / 2 for usage in usages]
    # With a memory, every prompt but the first of the unknown beginning was mostly read before; without one, none was.
    assert mostly_known == [prefixes > 0] * 4 + [False] + [prefixes > 0] * 3


def greedy(request: ChatRequest) -> tuple[str, str]:
    """The answer by the library's own greedy generation, without a cache, and why it ended."""
    words = tokenizer()
    plain = network(len(words))
    ids = words.encode(prompt(request.messages), add_special_tokens=False)
    generated: list[int] = []
    while len(generated) < request.max_tokens:
        with torch.inference_mode():
            token = int(plain(torch.tensor([ids + generated])).logits[0, -1].argmax())
        if token in (0, 2):
            return words.decode(generated), "stop"
        generated.append(token)
    return words.decode(generated), "length"


def test_a_batch_of_prompts_of_unequal_length_is_answered_as_each_alone() -> None:
    requests = [chat("word " * length, max_tokens=6 + length) for length in (1, 9, 3, 0, 14)]
    replies = model(2).chat(requests)
    assert [(reply.text, reply.finish) for reply in replies] == [greedy(request) for request in requests]
    assert {reply.finish for reply in replies} >= {"length"}


def test_end_tokens_and_stop_strings_end_an_answer() -> None:
    words = tokenizer()
    text, _ = greedy(chat("Go"))
    middle = text[len(text) // 2 :][:2]
    [stopped] = model().chat([chat("Go", stop=("never there", middle))])
    assert isinstance(stopped, ChatReply)
    assert (stopped.text, stopped.finish) == (text[: text.index(middle)], "stop")

    ending = copy.deepcopy(network(len(words)))
    with torch.no_grad():  # every position's choice becomes <|im_end|>
        ending.lm_head.weight[2] = 0
        ending.lm_head.weight[[0, 1, *range(3, len(words))]] = 0
        ending.lm_head.bias = torch.nn.Parameter(torch.nn.functional.one_hot(torch.tensor(2), len(words)).float())
    tiny = CausalModel(ending, spoken(words), served="t", context=512)
    [ended] = tiny.chat([chat("Go")])
    assert isinstance(ended, ChatReply)
    assert (ended.text, ended.finish, ended.usage.completion_tokens) == ("", "stop", 1)


def test_sampling_depends_on_the_request_alone() -> None:
    hot = [chat("Go", temperature=1.5, seed=seed, sample=sample) for seed, sample in ((1, 0), (1, 1), (2, 0))]
    together = model().chat(hot)
    alone = [model().chat([request])[0] for request in hot]
    assert together == alone
    assert len({reply.text for reply in together}) == 3


def test_generated_log_probabilities() -> None:
    [reply] = model().chat([chat("Go", top_logprobs=3, max_tokens=4)])
    assert isinstance(reply, ChatReply)
    assert len(reply.logprobs) == 4
    for token in reply.logprobs:
        assert token.top[token.token] == token.logprob == max(token.top.values()) <= 0
        assert len(token.top) == 3
    first = reference([prompt(chat("Go").messages), "."])[0]
    assert reply.logprobs[0].logprob == pytest.approx(float(first.max()), abs=2e-5)


def test_one_prompt_that_is_too_long_does_not_spoil_its_batch() -> None:
    short, long = chat("short"), chat("long " * 400)
    first, overflow, last = model().chat([short, long, short])
    assert first == last
    assert isinstance(overflow, ContextOverflow)
    assert "context of 512 tokens" in str(overflow)
    with pytest.raises(ContextOverflow):
        ask(model(context=40), echo(" the\tunknown\n"))


def test_what_is_not_offered_is_refused() -> None:
    [refused] = model().chat([chat("Go", json_mode=True)])
    assert isinstance(refused, Unsupported)
    [turn] = model().chat([ChatRequest("tiny", (Message("tool", "x"),), 4)])
    assert isinstance(turn, Unsupported)
    assert "no such role" in str(turn)
    bare = copy.deepcopy(tokenizer())
    bare.chat_template = None
    with pytest.raises(Unsupported, match="no chat template"):
        spoken(bare).chat(chat("Go"))


def test_the_head_is_exact_where_it_matters() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        linear = torch.nn.Linear(64, 5000).bfloat16()
        hidden = torch.randn(2, 7, 64).bfloat16() * 20
    exact = torch.nn.functional.linear(hidden.double(), linear.weight.double(), linear.bias.double())
    with torch.inference_mode():
        logits = ExactHead(linear, linear.weight, linear.bias)(hidden)
    assert logits.dtype == torch.float32
    highest = exact.topk(100, dim=-1).indices
    assert torch.allclose(logits.gather(-1, highest).double(), exact.gather(-1, highest), atol=1e-4)
    assert torch.allclose(logits.logsumexp(-1).double(), exact.logsumexp(-1), atol=2e-3)
    assert (logits.double() - exact).abs().max() > 1e-3  # the others are as bfloat16 left them
    assert torch.equal(logits.argmax(-1), exact.argmax(-1))


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor does not multiply bfloat16"
)
def test_laying_out_weights_changes_no_result() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        plain = torch.nn.Sequential(
            torch.nn.Linear(64, 96), torch.nn.SiLU(), torch.nn.Linear(96, 32, bias=False)
        ).bfloat16()
        inputs = [torch.randn(*shape, 64).bfloat16() for shape in ((1,), (3, 5), (2, 300))]
    packed = copy.deepcopy(plain)
    pack_linears(packed)
    assert not any(type(layer) is torch.nn.Linear for layer in packed)
    with torch.inference_mode():
        for rows in inputs:
            assert torch.allclose(plain(rows).float(), packed(rows).float(), atol=2e-2, rtol=1e-2)


def test_weights_of_half_precision_give_nearly_the_same_numbers() -> None:
    words = tokenizer()
    half = CausalModel(copy.deepcopy(network(len(words))).bfloat16(), spoken(words), served="t", context=512)
    request = echo(" the\tunknown\n text\tunknown\n")
    for row, expected in zip(ask(half, request).logprobs, ask(model(), request).logprobs, strict=True):
        assert row == pytest.approx(expected, abs=0.5)


def test_a_folder_and_a_gguf_file_of_one_model_give_the_same_numbers(tmp_path: Path) -> None:
    folder, file = save_folder(tmp_path / "tiny"), save_gguf(tmp_path / "tiny.gguf")
    settings = LoadSettings(dtype="float32", threads=1)
    one, other = (load("tiny", str(path), settings) for path in (folder, file))
    request = echo(" the\tunknown\n text\tunknown\n")
    first, second = ask(one, request), ask(other, request)
    for row, expected in zip(first.logprobs, second.logprobs, strict=True):
        assert row == pytest.approx(expected, abs=2e-5)
    assert first.model_served.startswith("tiny@")
    assert len(first.model_served) == len("tiny@") + 16
    assert first.model_served != second.model_served


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_truncated_gguf_is_one_clear_line(tmp_path: Path, share: float) -> None:
    path = save_gguf(tmp_path / "tiny.gguf")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadInput, match="cannot be loaded as a model") as caught:
        load("tiny", str(path), LoadSettings())
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
