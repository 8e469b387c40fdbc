"""A causal language model in process: log-probabilities of prompts and generation, several prompts in every pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from autointerp.errors import ContextOverflow, ProviderError, Unsupported
from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest
from autointerp.providers.local.attention_cache import Layers, PrefixCache, batch_of, common_length, layers_of
from autointerp.providers.local.generation import Answer, tried
from autointerp.providers.local.linear import ExactHead, pack_linears
from autointerp.providers.local.tokens import ChatTokenizer, EchoTokens
from autointerp.types import Usage

__all__ = ["CausalModel"]

# A `transformers.PreTrainedModel`, whose own methods have no types.
Network: TypeAlias = Any

_DECIMALS = 5  # log-probabilities leave rounded, so that a reply and its copy in a ledger are the same number
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
_PASS_TOKENS = 2048  # tokens of one pass, beyond which more prompts at once save no time
_WORTH_WAITING = 64  # tokens that prompts must share for one of them to be read before the others


@dataclass(frozen=True, slots=True)
class _Prompt:
    """ids of the prompt; positions: after which of them the next token's logits are wanted, ascending."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """logits [positions, vocabulary] float32; layers: keys and values of the prompt; reused: tokens not computed."""

    logits: Tensor
    layers: Layers
    reused: int


class CausalModel:
    """One loaded model. Not safe for threads: the provider calls it from one.

    network: a `transformers` causal model; served: the name and fingerprint that replies carry; context: most tokens of
    a prompt and its answer; prefixes: how many families of prompts to keep computed (0: none). Raises Unsupported for
    architectures whose state is not keys and values.
    """

    def __init__(
        self, network: Network, tokenizer: ChatTokenizer, *, served: str, context: int, prefixes: int = 4
    ) -> None:
        config = network.config.get_text_config(decoder=True)
        if not set(getattr(config, "layer_types", None) or ()) <= _ATTENTION:
            raise Unsupported(f"{served}: the layers of {config.model_type} are not all attention: serve it elsewhere")
        self._network = _prepared(network.eval())
        self._device = network.device
        self._tokenizer = tokenizer
        self._served = served
        self._context = min(context, getattr(config, "max_position_embeddings", None) or context)
        self._prefixes = PrefixCache(prefixes)

    @torch.inference_mode()
    def echo(self, requests: Sequence[EchoRequest]) -> list[EchoReply | ProviderError]:
        """Log-probabilities of the candidates at every slot, over the whole vocabulary, rounded to five decimals.

        A request that cannot be answered gets its error, here and in `chat`.
        """
        tokens = [tried(self._echo_tokens, request) for request in requests]
        good = [one for one in tokens if not isinstance(one, ProviderError)]
        replies = iter(
            [
                self._echo_reply(one, read)
                for one, read in zip(good, self._read([_Prompt(one.ids, one.positions) for one in good]), strict=True)
            ]
        )
        return [one if isinstance(one, ProviderError) else next(replies) for one in tokens]

    @torch.inference_mode()
    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatReply | ProviderError]:
        """An answer to each conversation, written together."""
        prompts = [tried(self._chat_prompt, request) for request in requests]
        asked = [(r, p) for r, p in zip(requests, prompts, strict=True) if not isinstance(p, ProviderError)]
        writing = []
        for (request, prompt), read in zip(asked, self._read([prompt for _, prompt in asked]), strict=True):
            answer = Answer(request, self._tokenizer, len(prompt.ids), read.reused)
            answer.extend(read.logits[0].double().cpu().numpy())
            writing.append((answer, read.layers))
        self._write([pair for pair in writing if not pair[0].finished])
        replies = iter([answer.reply(self._served) for answer, _ in writing])
        return [prompt if isinstance(prompt, ProviderError) else next(replies) for prompt in prompts]

    def _echo_tokens(self, request: EchoRequest) -> EchoTokens:
        tokens = self._tokenizer.echo(request)
        self._check_room(len(tokens.ids), 0)
        return tokens

    def _chat_prompt(self, request: ChatRequest) -> _Prompt:
        if request.json_mode:
            raise Unsupported(f"{request.model} has no JSON mode in process: ask without it")
        ids = self._tokenizer.chat(request)
        self._check_room(len(ids), request.max_tokens)
        return _Prompt(ids, (len(ids) - 1,))

    def _check_room(self, prompt: int, answer: int) -> None:
        if prompt + answer > self._context:
            raise ContextOverflow(
                f"{prompt} tokens of prompt and {answer} of answer exceed the context of {self._context} tokens"
            )

    def _echo_reply(self, tokens: EchoTokens, read: _Read) -> EchoReply:
        chosen = read.logits[:, list(tokens.candidates)] - read.logits.logsumexp(-1, keepdim=True)
        rows = tuple(tuple(round(value, _DECIMALS) for value in row) for row in chosen.tolist())
        return EchoReply(rows, self._served, Usage(len(tokens.ids), 0, read.reused))

    def _read(self, prompts: Sequence[_Prompt]) -> Iterator[_Read]:
        """Every prompt's logits and layers, in order, with as few passes as pay."""
        for batch in self._passes(prompts):
            yield from self._read_together(batch)

    def _passes(self, prompts: Sequence[_Prompt]) -> Iterator[Sequence[_Prompt]]:
        """The prompts cut into passes. Planned one by one, as what a pass leaves behind shortens the next."""
        rest = list(prompts)
        while rest:
            first, others = rest[0], rest[1:]
            known = [self._prefixes.find(prompt.ids, min(prompt.positions))[1] for prompt in rest]
            gains = [common_length(first.ids, other.ids) - here for other, here in zip(others, known[1:], strict=True)]
            taken = 1
            if not self._prefixes.entries or max(gains, default=0) < _WORTH_WAITING:
                new = [len(prompt.ids) - here for prompt, here in zip(rest, known, strict=True)]
                while taken < len(rest) and _pays(new[: taken + 1]):
                    taken += 1
            yield rest[:taken]
            rest = rest[taken:]

    def _read_together(self, prompts: Sequence[_Prompt]) -> list[_Read]:
        """One pass. Known beginnings are padded at the left, what is new at the right; the mask hides both paddings."""
        found = [self._prefixes.find(prompt.ids, limit=min(prompt.positions)) for prompt in prompts]
        known = [reused for _, reused in found]
        fresh = [prompt.ids[reused:] for prompt, reused in zip(prompts, known, strict=True)]
        past, new = max(known), max(map(len, fresh))
        most = max(len(prompt.positions) for prompt in prompts)
        ids, places = (torch.zeros(len(prompts), new, dtype=torch.long) for _ in range(2))
        mask = torch.zeros(len(prompts), past + new, dtype=torch.long)
        kept = torch.zeros(len(prompts), most, dtype=torch.long)
        for row, (prompt, reused, tail) in enumerate(zip(prompts, known, fresh, strict=True)):
            ids[row, : len(tail)] = torch.tensor(tail)
            places[row] = torch.arange(reused, reused + new)
            mask[row, past - reused : past + len(tail)] = 1
            kept[row, : len(prompt.positions)] = torch.tensor(prompt.positions) - reused
        cache = batch_of([layers for layers, _ in found], known, room=new)
        logits = self._network(
            input_ids=ids.to(self._device),
            position_ids=places.to(self._device),
            attention_mask=mask.to(self._device),
            cache=cache,
            use_cache=True,
            logits_to_keep=kept.to(self._device),
        ).logits
        reads = []
        for row, (prompt, reused) in enumerate(zip(prompts, known, strict=True)):
            layers = layers_of(cache, row, past - reused, len(prompt.ids))
            self._prefixes.store(prompt.ids, layers)
            reads.append(_Read(logits[row, : len(prompt.positions)], layers, reused))
        return reads

    def _write(self, pairs: Sequence[tuple[Answer, Layers]]) -> None:
        """Writes all answers to their end, one token of each in every pass."""
        answers = [answer for answer, _ in pairs]
        if not answers:
            return
        lengths = [answer.prompt_tokens for answer in answers]
        cache = batch_of([layers for _, layers in pairs], lengths, room=max(answer.most for answer in answers))
        mask = torch.zeros(len(answers), max(lengths), dtype=torch.long, device=self._device)
        for row, length in enumerate(lengths):
            mask[row, max(lengths) - length :] = 1
        while answers:
            mask = torch.cat([mask, mask.new_ones(len(answers), 1)], dim=1)
            logits = self._network(
                input_ids=torch.tensor([[answer.ids[-1]] for answer in answers], device=self._device),
                position_ids=torch.tensor([[answer.length - 1] for answer in answers], device=self._device),
                attention_mask=mask,
                cache=cache,
                use_cache=True,
            ).logits[:, -1]
            for answer, row_logits in zip(answers, logits.double().cpu().numpy(), strict=True):
                answer.extend(row_logits)
            going = [row for row, answer in enumerate(answers) if not answer.finished]
            if len(going) < len(answers):
                answers = [answers[row] for row in going]
                rows = torch.tensor(going, dtype=torch.long, device=self._device)
                cache.batch_select_indices(rows)
                mask = mask[rows]


def _pays(new: Sequence[int]) -> bool:
    """Whether prompts of so many new tokens are read faster together: not too many, and not mostly padding."""
    padded = len(new) * max(new)
    return padded <= _PASS_TOKENS and padded <= 2 * sum(new)


def _prepared(network: Network) -> Network:
    """The network with its weights laid out for this processor, and logits that are exact where it matters."""
    head = network.get_output_embeddings()
    weight, bias = head.weight, head.bias
    pack_linears(network)
    network.set_output_embeddings(ExactHead(network.get_output_embeddings(), weight, bias))
    return network
