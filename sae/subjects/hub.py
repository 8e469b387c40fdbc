"""Whether a name is a model of the Hugging Face hub: asked once, first: transformers asks for half a minute."""

from __future__ import annotations

from sae.errors import BadInput

_TIMEOUT_S = 10.0


def check_name(name: str) -> None:
    """Raises BadInput for a name under which nothing was downloaded before and the hub gives nothing now.

    Not a name, not found, gated and out of reach are told apart. Needs huggingface_hub, which transformers brings.
    """
    import httpx2
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
    )

    what = f"{name}: neither a folder of `sae subject train`, a folder of transformers nor a .gguf file"
    try:
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
            return
        url = hf_hub_url(name, "config.json", endpoint=constants.ENDPOINT)
        get_hf_file_metadata(url, timeout=_TIMEOUT_S, retry_on_errors=False)
    except HFValidationError:
        raise BadInput(f"{what}, and no name of a model: check the spelling") from None
    except RemoteEntryNotFoundError:
        return  # a model without config.json; transformers says what it misses
    except GatedRepoError:
        raise BadInput(
            f"{name}: this model is gated: accept its terms at {constants.ENDPOINT}/{name} and set HF_TOKEN to a token "
            "of that account"
        ) from None
    except RepositoryNotFoundError:
        raise BadInput(
            f"{what}, and {constants.ENDPOINT} has no model of this name: check the spelling (a private one needs "
            "HF_TOKEN)"
        ) from None
    except OfflineModeIsEnabled:
        raise BadInput(f"{what}, and not downloaded before: HF_HUB_OFFLINE is set, so the hub is not asked") from None
    except HfHubHTTPError as error:
        raise BadInput(
            f"{what}, and {constants.ENDPOINT} does not say whether it has it (status {error.response.status_code}): "
            "check the spelling, or try again later"
        ) from None
    except httpx2.HTTPError as error:
        raise BadInput(
            f"{what}, and not downloaded before: {constants.ENDPOINT} cannot be reached ({error}): check the spelling, "
            "or connect and try again"
        ) from None
