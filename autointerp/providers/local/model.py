"""A causal language model in process: log-probabilities of a prompt in one forward pass, and batched generation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from autointerp.errors import ContextOverflow, ProviderError, Unsupported
from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest
from autointerp.providers.local.attention_cache import Layers, PrefixCache, batch_of, cache_of, layers_of
from autointerp.providers.local.generation import Answer
from autointerp.providers.local.linear import ExactHead, pack_linears
from autointerp.providers.local.tokens import ChatTokenizer
from autointerp.types import Usage

__all__ = ["CausalModel"]

_DECIMALS = 5  # log-probabilities leave rounded, so that a reply and its copy in a ledger are the same number
# A `transformers.PreTrainedModel`, whose own methods have no types.
Network: TypeAlias = Any

_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


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
        self._tokenizer = tokenizer
        self._served = served
        self._context = min(context, getattr(config, "max_position_embeddings", None) or context)
        self._prefixes = PrefixCache(prefixes)
        self._ends = tokenizer.end_of_turn(_declared_ends(network))

    @torch.inference_mode()
    def echo(self, request: EchoRequest) -> EchoReply:
        """Log-probabilities of the candidates at every slot, over the whole vocabulary, rounded to five decimals."""
        tokens = self._tokenizer.echo(request)
        self._check_room(len(tokens.ids), 0)
        logits, _, reused = self._forward(tokens.ids, tokens.positions)
        chosen = logits[:, list(tokens.candidates)] - logits.logsumexp(-1, keepdim=True)
        rows = tuple(tuple(round(value, _DECIMALS) for value in row) for row in chosen.tolist())
        return EchoReply(rows, self._served, Usage(len(tokens.ids), 0, reused))

    @torch.inference_mode()
    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatReply | ProviderError]:
        """An answer to each conversation, generated together; a request that cannot be answered gets its error."""
        outcomes: list[ChatReply | ProviderError | None] = [None] * len(requests)
        answers: list[Answer] = []
        states: list[Layers] = []
        for place, request in enumerate(requests):
            try:
                answer, layers = self._begin(place, request)
            except ProviderError as error:
                outcomes[place] = error
                continue
            answers.append(answer)
            states.append(layers)
        self._continue([pair for pair in zip(answers, states, strict=True) if not pair[0].finished])
        for answer in answers:
            outcomes[answer.place] = answer.reply(self._served)
        return [outcome for outcome in outcomes if outcome is not None]

    def _begin(self, place: int, request: ChatRequest) -> tuple[Answer, Layers]:
        """Reads the prompt and writes the first token."""
        if request.json_mode:
            raise Unsupported(f"{request.model} has no JSON mode in process: ask without it")
        ids = self._tokenizer.chat(request)
        self._check_room(len(ids), request.max_tokens)
        logits, layers, reused = self._forward(ids, [len(ids) - 1])
        answer = Answer(place, request, self._tokenizer, self._ends, len(ids), reused)
        answer.extend(logits[0])
        return answer, layers

    def _continue(self, pairs: Sequence[tuple[Answer, Layers]]) -> None:
        """Writes all answers to their end, one token of each in every pass."""
        answers = [answer for answer, _ in pairs]
        if not answers:
            return
        device = self._network.device
        cache = batch_of([layers for _, layers in pairs], room=max(answer.most for answer in answers))
        used = cache.get_seq_length()
        mask = torch.zeros(len(answers), used, dtype=torch.long, device=device)
        for row, answer in enumerate(answers):
            mask[row, used - answer.prompt_tokens :] = 1
        while answers:
            mask = torch.cat([mask, mask.new_ones(len(answers), 1)], dim=1)
            logits = self._network(
                input_ids=torch.tensor([[answer.ids[-1]] for answer in answers], device=device),
                position_ids=torch.tensor([[answer.length - 1] for answer in answers], device=device),
                attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
            for answer, row_logits in zip(answers, logits, strict=True):
                answer.extend(row_logits)
            going = [row for row, answer in enumerate(answers) if not answer.finished]
            if len(going) < len(answers):
                answers = [answers[row] for row in going]
                kept = torch.tensor(going, dtype=torch.long, device=device)
                cache.batch_select_indices(kept)
                mask = mask[kept]

    def _forward(self, ids: tuple[int, ...], positions: Sequence[int]) -> tuple[Tensor, Layers, int]:
        """Logits float32 [positions, vocabulary], the prompt's layers, and how many tokens needed no computing."""
        layers, reused = self._prefixes.find(ids, limit=min(positions))
        cache = cache_of(layers, reused)
        device = self._network.device
        logits = self._network(
            input_ids=torch.tensor([ids[reused:]], device=device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=torch.tensor(positions, device=device) - reused,
        ).logits[0]
        computed = layers_of(cache)
        self._prefixes.store(ids, computed)
        return logits, computed, reused

    def _check_room(self, prompt: int, answer: int) -> None:
        if prompt + answer > self._context:
            raise ContextOverflow(
                f"{prompt} tokens of prompt and {answer} of answer exceed the context of {self._context} tokens"
            )


def _prepared(network: Network) -> Network:
    """The network with its weights laid out for this processor, and logits that are exact where it matters."""
    head = network.get_output_embeddings()
    weight, bias = head.weight, head.bias
    pack_linears(network)
    network.set_output_embeddings(ExactHead(network.get_output_embeddings(), weight, bias))
    return network


def _declared_ends(network: Network) -> Iterable[int]:
    """End-of-sequence ids of the configuration, which may be one, several or none."""
    for config in (network.generation_config, network.config):
        declared = getattr(config, "eos_token_id", None)
        yield from [declared] if isinstance(declared, int) else declared or ()
