"""A mistyped name of a model, for the subject or for the LLM in process: one question, then one clear line."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.hub import hub

import autointerp.errors
import sae.errors
from autointerp.providers.local.weights import LoadSettings, load
from sae.subjects import load_subject

pytest.importorskip("transformers")

LOADERS: dict[str, tuple[Callable[[str], object], type[Exception]]] = {
    "subject": (load_subject, sae.errors.BadInput),
    "local": (lambda name: load("m", name, LoadSettings()), autointerp.errors.BadInput),
}
Asked = tuple[Callable[[str], str], list[str]]


@pytest.fixture(params=LOADERS)
def refusal(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """The line with which a name is refused."""
    loader, kind = LOADERS[request.param]

    def refused(name: str) -> str:
        with pytest.raises(kind) as caught:
            loader(name)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"{name}: ")
        return str(caught.value)

    return refused


def move(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """As HF_ENDPOINT would, were huggingface_hub not imported yet."""
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address + template)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The paths that a stand-in for the hub was asked for."""
    with hub() as (address, paths):
        move(monkeypatch, address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        yield paths


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("no/such-model", "has no model of this name: check the spelling"),
        ("some/gated-model", "/some/gated-model and set HF_TOKEN"),
        ("ill/hub", "does not say whether it has it (status 503)"),
    ],
)
def test_what_the_hub_does_not_give_is_asked_once(
    refusal: Callable[[str], str], asked: list[str], name: str, complaint: str
) -> None:
    assert complaint in refusal(name)
    assert asked == [f"/{name}/resolve/main/config.json"]


@pytest.mark.parametrize("name", ["a/b/c", "nowhere//model", "over..there"])
def test_what_cannot_be_a_name_is_not_asked(refusal: Callable[[str], str], asked: list[str], name: str) -> None:
    assert "no name of a model" in refusal(name)
    assert asked == []


def test_a_hub_out_of_reach_is_tried_once(
    refusal: Callable[[str], str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)  # how huggingface_hub waits before it tries again
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        move(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}")
        assert "cannot be reached ([Errno 111] Connection refused)" in refusal("some/model")
    assert slept == []


def test_offline_by_the_persons_own_wish(
    refusal: Callable[[str], str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refusal("some/model")
    assert asked == []
