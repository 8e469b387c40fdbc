"""Whole jobs on a server of which a third of the calls goes wrong: every unit ends as it would have, or says why not.

| fault                              | how it ends                                     | what the ledger holds       |
| ---------------------------------- | ----------------------------------------------- | --------------------------- |
| 429, 500, 503, a timeout, a        | asked again, scored as without                  | each failed call, then the  |
| trickle, a cut connection          |                                                 | one answer                  |
| truncated JSON, no choices, HTML   | asked twice more, then Unscored, `bad_reply`    | each failed call; the next  |
| with status 200                    |                                                 | run asks again              |
| a refusal                          | Unscored, `refusal`                             | one answer, which stands    |
| a level too few                    | Unscored, `parse_failure`                       | one answer, which stands    |
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.fault_server import ANSWERED, BAD_REPLIES, PASSING, Fault, FaultServer, Seen, serving_faults
from support.stores import write_store
from support.waits import shorten_waits

from autointerp.jobs import load_job, run_job
from autointerp.providers import Ledger
from autointerp.results import read_scores

JOB = """
name = "faults"
[store]
path = "store"
[units]
features = [0, 1, 3, 5]
neurons = [0, 1, 2]
[baselines]
units = "none"
[model]
provider = "{provider}"
name = "{model}"
settings = {{ base_url = "{url}", key_variable = "", timeout_s = {timeout_s} }}
[ledger]
path = "{ledger}"
[statistics]
resamples = 100
[[presets]]
name = "openai"
simulator = "json"
explainer_temperature = "none"
simulator_temperature = "none"
controls = false
minimum_share = 1.0
sample_sets = ["top_and_random"]
"""
# The model, and what is between the server's address and the vendor's path.
PROVIDERS = {
    "openai": ("gpt-4.1", "/v1"),
    "openai_compatible": ("m", "/v1"),
    "anthropic": ("claude-haiku-4-5", ""),
}
# What a unit's outcome says of a reply that could not be used.
REASONS = {
    **dict.fromkeys(BAD_REPLIES, "bad_reply"),
    Fault.WRONG_LENGTH: "parse_failure",
    Fault.REFUSAL: "refusal",
}
TIMEOUT_S = 1.5  # longer than any answer takes that is to come


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("faults") / "store", blocks=120).path


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long waits, and nothing drawn: the pictures are not what is tested."""
    shorten_waits(monkeypatch)
    for name in ("write_figures", "write_report"):
        monkeypatch.setattr(f"autointerp.results.writer.{name}", lambda *_: None)


def job_run(
    store: Path, server: FaultServer, provider: str, folder: Path, ledger: str, *, timeout_s: float = 60.0
) -> Path:
    model, path = PROVIDERS[provider]
    url = server.url + path
    (store.parent / "job.toml").write_text(
        JOB.format(provider=provider, model=model, url=url, ledger=folder.parent / ledger, timeout_s=timeout_s)
    )
    return run_job(load_job(store.parent / "job.toml"), store.parent, folder)


def rows_of(ledger: Path) -> list[Mapping[str, Any]]:
    async def read() -> list[Mapping[str, Any]]:
        async with Ledger(ledger, create=False) as opened:
            assert opened.verify() == []
            return [dict(row) for row in opened.rows()]

    return asyncio.run(read())


def check_ledger(ledger: Path, seen: list[Seen]) -> None:
    """Each reply that was given is there once, and so is each call that went wrong."""
    rows = rows_of(ledger)
    answered = Counter(row["key"] for row in rows if row["status"] == "answered")
    given = {one.prompt for one in seen if one.fault is None or one.fault in ANSWERED}
    assert set(answered.values()) == {1}
    assert len(answered) == len(given)
    assert len(given) == sum(one.fault is None or one.fault in ANSWERED for one in seen), "a reply was asked for twice"
    failed = Counter(row["error"].partition(":")[0] for row in rows if row["status"] == "failed")
    faults = Counter(one.fault for one in seen)
    limited = faults[Fault.RATE_LIMIT] + faults[Fault.RATE_LIMIT_WITH_WAIT]
    assert failed["RateLimited"] == limited
    assert failed["BadReply"] == sum(faults[one] for one in BAD_REPLIES)
    assert failed["Transient"] == sum(faults[one] for one in PASSING) - limited - failed["BadReply"]
    assert failed.total() == failed["RateLimited"] + failed["BadReply"] + failed["Transient"]


def expected_reason(seen: list[Seen], explanation: str) -> str | None:
    """Why the unit with this explanation has no score: the explainer's failure, else the simulations' most frequent."""
    lasting: dict[str, Fault | None] = {}
    of_unit = [one for one in seen if one.explanation == explanation]
    for one in of_unit:  # the last call of a request is the one that counts
        lasting[one.prompt] = one.fault
    explains = next(one.prompt for one in of_unit if one.explains)
    if lasting[explains] is not None:
        return f"no_explanation: {REASONS[lasting[explains]]}"
    reasons = Counter(REASONS[fault] for fault in lasting.values() if fault is not None)
    return min(reasons, key=lambda reason: (-reasons[reason], reason)) if reasons else None


def reasons_found(frame: pd.DataFrame) -> dict[str, str | None]:
    """By unit; a unit's metrics end alike."""
    found: dict[str, set[str | None]] = defaultdict(set)
    for row in frame.itertuples():
        scored = row.status == "scored"
        why = f"{row.reason}: {row.detail.partition(':')[0]}" if row.reason == "no_explanation" else row.reason
        found[row.unit].add(None if scored else why)
    assert all(len(reasons) == 1 for reasons in found.values())
    return {unit: reasons.pop() for unit, reasons in found.items()}


def test_a_job_on_a_faulty_server(store: Path, tmp_path: Path, provider: str) -> None:
    with serving_faults() as sound:
        clean = job_run(store, sound, provider, tmp_path / "clean", "clean.sqlite")
    scores = read_scores(clean)
    assert set(scores.status) == {"scored"}
    told = dict(zip(scores.unit, scores.explanation, strict=True))
    assert len(set(told.values())) == len(told) == 7

    # Whatever passes leaves no trace in the scores.
    with serving_faults(passing=PASSING, seed=2, slow_s=2 * TIMEOUT_S) as faulty:
        run = job_run(store, faulty, provider, tmp_path / "passing", "passing.sqlite", timeout_s=TIMEOUT_S)
    assert {one.fault for one in faulty.seen} == {None, *PASSING}
    assert (run / "scores.parquet").read_bytes() == (clean / "scores.parquet").read_bytes()
    check_ledger(tmp_path / "passing.sqlite", faulty.seen)

    # What lasts makes those units Unscored that it met, each with its reason.
    passing = [one for one in PASSING if one not in (Fault.TIMEOUT, Fault.TRICKLE)]
    with serving_faults(passing=passing, lasting=[*BAD_REPLIES, *ANSWERED], seed=20) as faulty:
        run = job_run(store, faulty, provider, tmp_path / "run", "lasting.sqlite")
    found = reasons_found(read_scores(run))
    assert found == {unit: expected_reason(faulty.seen, told[unit]) for unit in told}
    assert {None, "bad_reply", "refusal", "parse_failure"} <= set(found.values())
    scored = [unit for unit in found if found[unit] is None]
    both = (one[one.unit.isin(scored)].reset_index(drop=True) for one in (read_scores(run), scores))
    pd.testing.assert_frame_equal(*both, check_dtype=False, check_exact=True)
    check_ledger(tmp_path / "lasting.sqlite", faulty.seen)

    # The next run asks for what failed, and for nothing else; what was answered stands.
    with serving_faults() as sound:
        healed = read_scores(job_run(store, sound, provider, tmp_path / "run", "lasting.sqlite"))
    answered = {one.prompt for one in faulty.seen if one.fault is None or one.fault in ANSWERED}
    assert sound.seen
    assert not [one for one in sound.seen if one.prompt in answered]
    after = reasons_found(healed)
    assert {unit for unit in after if after[unit] in ("bad_reply", "no_explanation: bad_reply")} == set()
    met = {one.explanation for one in faulty.seen if one.fault in ANSWERED}
    assert {unit for unit in after if after[unit] is not None} == {unit for unit in told if told[unit] in met}


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)
