"""Finding, checking and loading a model's files. Every way they can be wrong is one clear line."""

from __future__ import annotations

import hashlib
import logging
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from autointerp.errors import BadInput, ProviderError
from autointerp.protocols import ChatReply, ChatRequest, EchoReply, EchoRequest
from autointerp.providers.local.tokens import ChatTokenizer

__all__ = ["LoadSettings", "LocalModel", "check", "first_line", "load"]

_LOGGER = logging.getLogger(__name__)
_MAGIC = b"GGUF"
_DTYPES = ("auto", "float32", "bfloat16", "float16")
_BACKENDS = ("transformers", "llama_cpp")
# The libraries raise whatever their parsers meet in a damaged file; all of it means that the file is unusable.
_FAILURES = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    RuntimeError,
    OverflowError,
    TypeError,
    struct.error,  # of a GGUF file that ends within its header
)
_WEIGHT_FILES = ("*.safetensors", "*.bin")


class LocalModel(Protocol):
    """A loaded model. Each request has its own outcome; other errors concern them all."""

    def echo(self, requests: Sequence[EchoRequest]) -> Sequence[EchoReply | ProviderError]: ...

    def chat(self, requests: Sequence[ChatRequest]) -> Sequence[ChatReply | ProviderError]: ...


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How a model is loaded and run.

    backend: "transformers", or "llama_cpp", which is slower, needs a quarter of the memory and reads GGUF files only.
    dtype (transformers): "auto" (bfloat16 where the processor multiplies it fast, else float32) or a name; threads:
    None leaves torch's choice; context: most tokens of a prompt and its answer; prefixes: families of prompts to keep
    computed.
    """

    backend: str = "transformers"
    dtype: str = "auto"
    threads: int | None = None
    context: int = 8192
    prefixes: int = 4

    def __post_init__(self) -> None:
        for name, value, known in (("dtype", self.dtype, _DTYPES), ("backend", self.backend, _BACKENDS)):
            if value not in known:
                raise BadInput(f"unknown {name} {value!r} of the local model: known are {', '.join(known)}")


def check(source: str) -> None:
    """Looks at a GGUF file or a model folder without loading it. A name that is no path is left to Hugging Face.

    Raises BadInput where it is missing, not a GGUF, or a folder without a model.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise BadInput(f"{path}: not a model folder (no config.json): give a Hugging Face folder or a GGUF file")
    elif path.exists():
        _check_gguf(path)
    elif path.suffix == ".gguf" or path.is_absolute() or source.startswith((".", "~")):
        raise BadInput(f"{path}: no such model file or folder")


def load(model: str, source: str, settings: LoadSettings) -> LocalModel:
    """The model from a GGUF file, a Hugging Face folder, or a Hugging Face name.

    Raises BadInput where the files cannot be used, or where a package is not installed.
    """
    check(source)
    _LOGGER.info("loading %s from %s with %s", model, source, settings.backend)
    return (_with_llama_cpp if settings.backend == "llama_cpp" else _with_transformers)(model, source, settings)


def _with_transformers(model: str, source: str, settings: LoadSettings) -> LocalModel:
    """A GGUF file's weights are unpacked: then they are multiplied like any others."""
    try:
        import gguf  # noqa: F401
        import torch
        import transformers
    except ImportError as error:
        raise BadInput(f"a model in process needs {error.name}: pip install 'autointerp[local]'") from error
    from autointerp.providers.local.hub import check_name
    from autointerp.providers.local.hugging_face import HuggingFaceVocabulary
    from autointerp.providers.local.model import CausalModel

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = _device()
    path = Path(source).expanduser()
    if not path.exists():
        check_name(source)
    where = str(path.parent) if path.is_file() else str(path) if path.is_dir() else source
    gguf_file = path.name if path.is_file() else None
    options: dict[str, Any] = {"quantization_config": transformers.GgufConfig(dequantize=True)} if gguf_file else {}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, gguf_file=gguf_file)
        network: Any = transformers.AutoModelForCausalLM.from_pretrained(
            where, gguf_file=gguf_file, dtype=_dtype(settings.dtype, device), **options
        )
    except _FAILURES as error:
        raise BadInput(f"{source}: cannot be loaded as a model ({first_line(error)})") from error
    return CausalModel(
        network.to(device),
        ChatTokenizer(HuggingFaceVocabulary(tokenizer, _declared_ends(network)), model),
        served=f"{model}@{_fingerprint(path, network.config)}",
        context=settings.context,
        prefixes=settings.prefixes,
    )


def _with_llama_cpp(model: str, source: str, settings: LoadSettings) -> LocalModel:
    path = Path(source).expanduser()
    if not path.is_file():
        raise BadInput(f"{source}: llama.cpp reads GGUF files: give one as the setting `path`")
    try:
        import llama_cpp
    except ImportError as error:
        raise BadInput(f"the backend llama_cpp needs {error.name}: pip install llama-cpp-python") from error
    from autointerp.providers.local.llama_cpp_model import LlamaCppModel, LlamaCppVocabulary

    try:
        llama = llama_cpp.Llama(
            str(path), n_ctx=settings.context, n_threads=settings.threads, logits_all=True, verbose=False
        )
    except _FAILURES as error:
        raise BadInput(f"{source}: cannot be loaded as a model ({first_line(error)})") from error
    served = f"{model}@{_fingerprint(path, None)}"
    return LlamaCppModel(llama, ChatTokenizer(LlamaCppVocabulary(llama), model), served=served)


def _check_gguf(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    if magic != _MAGIC:
        raise BadInput(f"{path}: not a GGUF file (it begins with {magic!r}): give a GGUF file or a model folder")


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(name: str, device: str) -> object:
    import torch

    if name != "auto":
        return getattr(torch, name)
    capable = torch.cpu.get_capabilities()
    fast = device != "cpu" or capable.get("amx_bf16", False) or capable.get("avx512_bf16", False)
    return torch.bfloat16 if fast else torch.float32


def _declared_ends(network: Any) -> frozenset[int]:
    """End-of-sequence ids of the configuration, which may be one, several or none."""
    ends: set[int] = set()
    for config in (network.generation_config, network.config):
        declared = getattr(config, "eos_token_id", None)
        ends.update([declared] if isinstance(declared, int) else declared or ())
    return frozenset(ends)


def _fingerprint(path: Path, config: object) -> str:
    """First 16 hex digits of the SHA-256 of the weights' files; for a model of the hub, its commit."""
    if not path.exists():
        return str(getattr(config, "_commit_hash", None) or "unknown")[:16]
    files = [path] if path.is_file() else sorted(file for kind in _WEIGHT_FILES for file in path.glob(kind))
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()[:16]


def first_line(error: BaseException) -> str:
    """The beginning of an error's message, or its kind where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
