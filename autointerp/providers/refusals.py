"""Refusing, before anything is sent, what a model does not do. Nothing that was asked is ever left out instead."""

from __future__ import annotations

from autointerp.errors import Unsupported
from autointerp.protocols import Capabilities, ChatRequest

__all__ = ["no_prompt_logprobs", "no_temperature", "refuse_what_is_lacking"]


def refuse_what_is_lacking(provider: str, request: ChatRequest, can: Capabilities) -> None:
    """Raises Unsupported, naming the alternatives, for a request that asks for something the model does not take."""
    if request.temperature is not None and not can.temperature:
        raise no_temperature(provider, request.model)
    wanted = {
        "seed": ("a seed", request.seed is not None, can.seed),
        "json_mode": ("JSON mode", request.json_mode, can.json_mode),
        "logprobs": ("log-probabilities", bool(request.top_logprobs), can.generated_logprobs),
        "stop": ("stop sequences", bool(request.stop), can.stop),
    }
    for setting, (what, asked, obeyed) in wanted.items():
        if asked and not obeyed:
            raise Unsupported(
                f"{provider} does not offer {what} for {request.model}: ask without, take another model or provider, "
                f"or, where the provider has a setting {setting} and the model does obey it, set it to true"
            )


def no_temperature(provider: str, model: str) -> Unsupported:
    """The refusal of a temperature, with what to do instead."""
    return Unsupported(
        f'{provider} takes no temperature for {model}: set explainer_temperature = "none" and simulator_temperature = '
        '"none" in the presets, take another model, or, where this one does take it, say temperature = true among the '
        "provider's settings"
    )


def no_prompt_logprobs(provider: str, model: str) -> Unsupported:
    """The refusal of an EchoRequest, with what to do instead."""
    return Unsupported(
        f'{provider} gives no log-probabilities of prompts for {model}: set simulator = "json", take a model in '
        'process (provider "local"), or a server with `echo` (provider "openai_compatible" with echo_format)'
    )
