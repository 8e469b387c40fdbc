"""`autointerp plan` and `run --max-cost`, through the commands, against a server that counts what it is asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.stores import write_store

from autointerp import cli
from autointerp.results import read_manifest, show_text, summarise
from tests.unit.providers.loopback_server import Answer, Server, serving

PRICE = "price = {{ input_per_million = 1000.0, output_per_million = 2000.0, cached_input_per_million = 100.0 }}"
JOB = f"""
name = "priced"
seed = 2
[store]
path = "store"
[units]
features = [0, 1, 2, 3]
neurons = [0, 1]
[baselines]
units = "none"
[model]
provider = "openai_compatible"
name = "m"
concurrency = 3
settings = {{{{ base_url = "{{url}}", key_variable = "" }}}}
{PRICE}
[statistics]
resamples = 100
[[presets]]
name = "openai"
simulator = "json"
controls = false
"""
USAGE = {"prompt_tokens": 900, "completion_tokens": 30, "prompt_tokens_details": {"cached_tokens": 400}}
COST = (500 * 1000 + 400 * 100 + 30 * 2000) / 1e6  # USD of one call: 0.60

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        choice = {"index": 0, "message": {"role": "assistant", "content": "cats and dogs"}, "finish_reason": "stop"}
        running.answers = [Answer({"model": "m-1", "choices": [choice], "usage": USAGE})]
        yield running


@pytest.fixture
def folder(tmp_path: Path, server: Server) -> Path:
    write_store(tmp_path / "store", blocks=120)
    (tmp_path / "job.toml").write_text(JOB.format(url=server.url))
    return tmp_path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `autointerp ...` and gives (exit code, standard output, standard error)."""

    def command(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["autointerp", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err

    return command


def planned(run: Run, *words: object) -> dict[str, Any]:
    code, out, _ = run("plan", *words, "--json")
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    return found


def shape(messages: Any) -> int:
    """What a request's prompt is counted by here: characters, for a rough comparison."""
    return sum(len(message["content"]) for message in messages)


def test_a_plan_says_what_a_run_asks_and_the_run_says_how_far_it_was_off(
    folder: Path, server: Server, run: Run
) -> None:
    job = folder / "job.toml"
    before = planned(run, job)
    assert server.asked == []
    assert sorted(path.name for path in folder.iterdir()) == ["job.toml", "store"]  # nothing is left behind
    total = before["total"]
    assert total["to_ask"] == total["calls"] > 0
    assert total["cost_usd"] == pytest.approx((total["prompt_tokens"] * 1000 + total["completion_tokens"] * 2000) / 1e6)
    assert total["batch_usd"] is None  # nobody said what a batch costs
    assert total["most_usd"] > total["cost_usd"]
    assert total["calls"] == sum(group["calls"] for group in before["groups"])
    assert before["groups"][0]["per_unit"]["calls"] == before["groups"][0]["calls"] / 4

    code, _, told = run("run", job)
    assert code == 0
    assert "plan: about" in told
    asked = len(server.asked)
    characters = sum(shape(body["messages"]) for _, _, body in server.asked)
    assert 0.2 < total["prompt_tokens"] / characters < 0.6  # tokens for each character

    manifest = read_manifest(folder / "runs" / "priced")
    calls, plan = manifest["calls"], manifest["plan"]
    assert calls["live"] == asked
    # This server explains all units alike, so that some of them have simulations in common.
    assert calls["live"] + calls["joined"] + calls["replayed"] == total["to_ask"]
    assert calls["cost_usd"] == pytest.approx(COST * len(server.asked))
    assert (calls["unpriced"], calls["uncertain_usd"]) == (0, 0.0)
    assert calls["models"][0]["price"] == "the job's price"
    assert plan["actual"]["cost_usd"] == calls["cost_usd"]
    assert plan["error"]["cost_usd"] == pytest.approx(calls["cost_usd"] / plan["planned"]["cost_usd"] - 1)
    assert f"cost: ${calls['cost_usd']:,.4f}" in show_text(summarise(folder / "runs" / "priced"), rows=3)
    assert f"${calls['cost_usd']:,.4f}" in (folder / "runs" / "priced" / "report.html").read_text()

    code, out, _ = run("ledger", "show", folder / "ledger.sqlite", "--json")
    (model,) = json.loads(out)["models"]
    assert model["cost_usd"] == pytest.approx(calls["cost_usd"])
    assert model["unpriced"] == 0

    # And once more: all of it is known.
    after = planned(run, job)["total"]
    assert (after["to_ask"], after["cost_usd"]) == (0, 0.0)
    assert after["known"] == after["calls"] == len(server.asked)
    assert after["known_usage"]["prompt_tokens"] == 900 * asked

    # A run that is replayed whole says nothing of prices, so that its manifest is the same whatever list is installed.
    assert run("run", job, "--out", folder / "again")[0] == 0
    assert len(server.asked) == asked
    again = read_manifest(folder / "again")
    assert "plan" not in again
    assert (again["calls"]["models"], again["calls"]["cost_usd"]) == ([], 0.0)
    assert "genai" not in json.dumps(again)
    assert "cost:" not in show_text(summarise(folder / "again"), rows=3)


def test_a_cap_stops_the_run_and_the_same_command_with_a_higher_one_goes_on(
    folder: Path, server: Server, run: Run
) -> None:
    job = folder / "job.toml"
    # Reservations are for the most a call can cost: some dollars each, of which 0.60 are used.
    code, out, told = run("run", job, "--max-cost", "12")
    assert (code, out) == (4, "")
    assert told.splitlines()[-1].startswith("autointerp: BudgetExceeded: the next call may cost up to $")
    assert "higher cap (--max-cost) goes on" in told
    first = len(server.asked)
    assert 0 < COST * first <= 12
    left = planned(run, job)["total"]
    assert left["known"] == first  # all that was asked is in the ledger, what was in flight included
    code, _, _ = run("run", job, "--max-cost", "1000")
    assert code == 0
    assert len({json.dumps(body) for _, _, body in server.asked}) == len(server.asked)  # nothing was asked twice
    assert len(server.asked) > first


def test_the_jobs_own_cap_holds_where_none_is_given(folder: Path, server: Server, run: Run) -> None:
    job = folder / "job.toml"
    job.write_text(job.read_text().replace("[statistics]", "[budget]\nmax_cost_usd = 0.01\n[statistics]"))
    assert run("run", job)[0] == 4
    assert server.asked == []
    assert "more than the cap of $0.01" in run("plan", job)[1]


def test_a_cap_needs_a_price_and_a_plan_does_not(folder: Path, server: Server, run: Run) -> None:
    job = folder / "job.toml"
    text = job.read_text().replace(PRICE.format(), "").replace("neurons = [0, 1]", "").replace("[0, 1, 2, 3]", "[0]")
    job.write_text(text)
    code, _, told = run("run", job, "--max-cost", "5")
    assert code == 2
    assert told.strip() == (
        "autointerp: a cap on spending needs a price, and m has none: give it in the job file as "
        "price = { input_per_million = USD, output_per_million = USD } of the model, or beside --llm as "
        "--price INPUT,OUTPUT"
    )
    code, out, _ = run("plan", job)
    assert code == 0
    assert "unpriced" in out
    assert planned(run, job)["total"]["cost_usd"] is None
    assert run("run", job)[0] == 0
    manifest = read_manifest(folder / "runs" / "priced")
    assert manifest["calls"]["cost_usd"] is None
    assert manifest["calls"]["unpriced"] == manifest["calls"]["live"] == len(server.asked)
    assert "cost: unpriced" in show_text(summarise(folder / "runs" / "priced"), rows=3)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--llm", "openai:gpt-99-unheard-of"), "the price of gpt-99-unheard-of at OpenAI is not known"),
        (("--llm", "openai:gpt-99-unheard-of"), "or beside --llm as --price INPUT,OUTPUT"),
        (("--units", "3"), "--units goes with --llm"),
        (("--price", "1,2"), "--price goes with --llm"),
        *(
            (("--llm", "openai:m", "--price", price), f"--price {price!r}: give two numbers, USD per million tokens")
            for price in ("", "1", "1,", "1,2,3", "a,b", "-1,2", "1,nan", "inf,1", "1;2")
        ),
    ],
)
def test_a_plan_refuses_what_a_run_refuses(
    folder: Path, server: Server, run: Run, words: tuple[str, ...], complaint: str
) -> None:
    for command in ("plan", "run"):
        code, _, told = run(command, folder / "job.toml", *words)
        assert code == 2
        assert complaint in told
    assert server.asked == []


def test_a_model_named_on_the_command_line_is_given_a_price(folder: Path, server: Server, run: Run) -> None:
    """Of one that the list does not know, and of one that no vendor sells, which may then be capped."""
    job = folder / "job.toml"
    unheard = planned(run, job, "--llm", "openai:gpt-99-unheard-of", "--price", "1000,2000")["total"]
    cost = (unheard["prompt_tokens"] * 1000 + unheard["completion_tokens"] * 2000) / 1e6
    assert unheard["cost_usd"] == pytest.approx(cost) != 0.0
    listed = planned(run, job, "--llm", "openai:gpt-4.1-mini", "--price", "0, 0")["total"]
    assert listed["cost_usd"] == 0.0

    on_server = ("--llm", f"{server.url}:m", "--units", "1", "--price", "1000.0,2000")
    code, _, told = run("run", job, *on_server, "--max-cost", "1e-3")
    assert (code, server.asked) == (4, [])
    assert "BudgetExceeded" in told
    assert run("run", job, *on_server, "--max-cost", "1000")[0] == 0
    calls = read_manifest(folder / "runs" / "priced")["calls"]
    assert calls["models"][0]["price"] == "the job's price"
    assert calls["cost_usd"] == pytest.approx((900 * 1000 + 30 * 2000) / 1e6 * len(server.asked))
    # The run's own job has it too, and so repeats without the option.
    again = folder / "runs" / "priced" / "job.toml"
    assert planned(run, again)["total"]["known_usage"]["prompt_tokens"] == 900 * len(server.asked)
    assert "input_per_million = 1000.0" in again.read_text()


def test_what_a_model_cannot_do_is_refused_by_the_plan(folder: Path, run: Run) -> None:
    job = folder / "job.toml"
    job.write_text(job.read_text().replace('simulator = "json"', 'simulator = "all_at_once"'))
    code, _, told = run("plan", job)
    assert code == 2
    assert "gives no log-probabilities of a prompt" in told


def test_a_vendors_model_is_planned_without_a_key_which_is_missed(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    job = folder / "job.toml"
    text = job.read_text().replace("openai_compatible", "anthropic").replace('name = "m"', 'name = "claude-haiku-4-5"')
    text = "\n".join(line for line in text.splitlines() if not line.startswith(("settings =", "price =")))
    job.write_text(text + '\nexplainer_temperature = "none"\nsimulator_temperature = "none"\n')
    found = planned(run, job)
    assert found["warnings"] == ["a run needs a key for anthropic: set the environment variable ANTHROPIC_API_KEY"]
    (model,) = found["models"]
    assert model["per_million"] == {"input": 1.0, "cached_input": 0.1, "cache_write": 1.25, "output": 5.0}
    assert model["batch_usd"] == pytest.approx(model["cost_usd"] / 2)
    fresh = model["prompt_tokens"] - model["cached_prompt_tokens"] - model["cache_write_tokens"]
    cost = fresh + 0.1 * model["cached_prompt_tokens"] + 1.25 * model["cache_write_tokens"]
    assert model["cost_usd"] == pytest.approx((cost + 5 * model["completion_tokens"]) / 1e6)
    assert [group["n_units"] for group in found["groups"]] == [4, 2]
