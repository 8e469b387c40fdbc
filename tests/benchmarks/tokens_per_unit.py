"""LLM tokens per unit: what each preset asks for one unit, beside the cost of simulating one token at a time.

Nothing is sent: the requests of the demo's first units are made and counted. For each preset: the explanation, the
simulation of the score split by each simulator with one context a call and with more, the same for the control (another
unit's explanation), and the naive way, all-at-once's prompt up to each token in turn with one token back, which is what
the papers' cost remarks are about (TM; LMEN's token-by-token simulator).

prompt: tokens of all prompts. prefix: of these, the beginnings that equal that of the request before, which a local
server's prefix cache need not read again. cached: as much of it as hosted services keep, whose caches begin at 1,024
tokens. completion: what the model writes; an explanation is taken to be as long as those of the examples. price: in
prompt tokens, where one written costs as much as 5 read and a cached one a tenth, as with hosted models of 2026;
without caching and with it. `of_naive` are ratios of the two prices to those of the naive way for the same unit.

Counted twice: by the project's estimate, after it has learnt what the shipped ledger's calls counted (a model with a
vocabulary of 152 k), and by the subject's own tokenizer, exactly; its vocabulary of 4,096 makes more tokens of a text.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from autointerp.jobs.job import load_job
from autointerp.jobs.selection import select
from autointerp.pipeline import Method
from autointerp.presets import OPENAI, TM, Preset
from autointerp.protocols import ChatRequest, EchoRequest, Message, Request
from autointerp.providers.token_estimate import TokenEstimate
from autointerp.records import ContextStore, split_unit
from autointerp.types import Context, Explanation, Kind, Provenance, UnitRecord, Unscored, Usage
from tests.support.method import ScriptedModel

RESULTS = Path(__file__).parents[2] / "results"
UNITS = 10  # features, and as many neurons
PACKS = {"openai": {"all_at_once": (1, 5, 10), "json": (1, 5, 10)}, "tm": {"all_at_once": (1, 60), "json": (1, 10, 60)}}
VENDOR_MINIMUM = 1024
PRICE_OF_COMPLETION, PRICE_OF_CACHED = 5.0, 0.1
NAIVE = "one token a call"
PER_MESSAGE = 4  # a role and its marks, as the project's estimate has it

Count = Callable[[str], float]


@dataclass
class Tokens:
    """Of one unit, or summed over units."""

    calls: float = 0
    prompt: float = 0
    prefix: float = 0
    cached: float = 0
    completion: float = 0

    def __iadd__(self, other: Tokens) -> Tokens:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    @property
    def price(self) -> float:
        return self.prompt + PRICE_OF_COMPLETION * self.completion

    @property
    def price_with_caching(self) -> float:
        return self.price - (1 - PRICE_OF_CACHED) * self.cached


class Counter:
    """Counts the requests of one component, one after another as they are sent."""

    def __init__(self, count: Count) -> None:
        self._count = count
        self._before: tuple[Message, ...] = ()

    def prompt(self, messages: tuple[Message, ...], completion: float) -> Tokens:
        """What one more call costs, with the beginning that it shares with the one before."""
        prefix = self._of(shared(self._before, messages))
        self._before = messages
        cached = prefix if prefix >= VENDOR_MINIMUM else 0
        return Tokens(1, self._of(messages), prefix, cached, completion)

    def text(self, text: str) -> float:
        return self._count(text)

    def _of(self, messages: Sequence[Message]) -> float:
        return sum(self._count(message.content) + PER_MESSAGE for message in messages)


def shared(first: Sequence[Message], second: Sequence[Message]) -> list[Message]:
    """The common beginning of two conversations; the last message may be cut."""
    same = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))]
    if len(same) < min(len(first), len(second)) and first[len(same)].role == second[len(same)].role:
        text = common(first[len(same)].content, second[len(same)].content)
        same += [Message(second[len(same)].role, text)] if text else []
    return same


def common(first: str, second: str) -> str:
    """The common beginning of two texts."""
    if second.startswith(first):
        return first
    return "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def naive(requests: Sequence[Request], counter: Counter) -> Tokens:
    """One prompt for each token of all-at-once requests of one context: the text so far, and one token back."""
    total = Tokens()
    for request in requests:
        assert isinstance(request, EchoRequest)
        *head, text = request.messages
        for slot in request.slots:
            total += counter.prompt((*head, Message(text.role, text.content[:slot])), 1)
    return total


def simulated(requests: Sequence[Request], counter: Counter) -> Tokens:
    """Requests as they are sent; the reply of JSON is compact and gives every token a level of one digit."""
    total = Tokens()
    for request in requests:
        total += counter.prompt(request.messages, counter.text(json_reply(request)))
    return total


def json_reply(request: Request) -> str:
    if isinstance(request, EchoRequest):
        return ""
    lines = [line for line in request.messages[-1].content.splitlines() if line.startswith("Text ")]
    labels = [label for line in lines for label in json.loads(line.partition(": ")[2])]
    return json.dumps(dict.fromkeys(labels, 0), ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Case:
    """A unit to be counted, with an explanation for it and one for its control."""

    record: UnitRecord
    own: Explanation
    other: Explanation

    @property
    def contexts(self) -> tuple[Context, ...]:
        return self.record.score.contexts


def _ways(preset: Preset) -> dict[str, tuple[str, int, Callable[[Sequence[Request], Counter], Tokens]]]:
    """Name -> simulator, contexts a call, and how its calls are counted."""
    packed = [(simulator, size) for simulator, sizes in PACKS[preset.name].items() for size in sizes]
    ways = {f"{simulator}, {size} a call": (simulator, size, simulated) for simulator, size in packed}
    return {NAIVE: ("all_at_once", 1, naive), **ways}


def measure(preset: Preset, cases: Sequence[Case], count: Count) -> dict[str, Any]:
    """Means over the units, a row for each way to simulate; and the explanation's."""
    model = ScriptedModel(json_mode=True)
    rows: dict[str, dict[str, Any]] = {}
    for role in ("simulation", "control"):
        said = [case.own if role == "simulation" else case.other for case in cases]
        for name, (simulator, size, way) in _ways(preset).items():
            method = Method.of(preset.with_settings({"simulator": simulator, "contexts_per_prompt": size}))
            counter, total = Counter(count), Tokens()
            for case, explanation in zip(cases, said, strict=True):
                total += way(method.simulator.requests(explanation, case.contexts, model), counter)  # type: ignore[attr-defined]
            rows.setdefault(name, {})[role] = total
    result: dict[str, Any] = {"units": len(cases), "explanation": _row(explained(preset, cases, count), len(cases))}
    for name, both in rows.items():
        result[name] = {role: _row(total, len(cases), rows[NAIVE][role]) for role, total in both.items()}
    return result


def explained(preset: Preset, cases: Sequence[Case], count: Count) -> Tokens:
    method, counter, total = Method.of(preset), Counter(count), Tokens()
    model = ScriptedModel(seed=True)
    for case in cases:
        record = case.record
        request: ChatRequest = method.explainer.request(record.unit, record.explain, record.statistics, model, 0)  # type: ignore[attr-defined]
        answers = [message.content for message in request.messages if message.role == "assistant"]
        total += counter.prompt(request.messages, sum(map(count, answers)) / len(answers))
    return total


def _row(total: Tokens, units: int, compared: Tokens | None = None) -> dict[str, float]:
    row = {name: round(value / units, 1) for name, value in asdict(total).items()}
    row |= {"price": round(total.price / units), "price_with_caching": round(total.price_with_caching / units)}
    if compared is not None:
        row["of_naive"] = round(total.price / compared.price, 4)
        row["of_naive_with_caching"] = round(total.price_with_caching / compared.price_with_caching, 4)
    return row


def learnt_estimate(ledger: Path) -> Count:
    """Characters to tokens, as the project's estimate has it once it was told what a model counted."""
    estimate = TokenEstimate()
    with gzip.open(ledger, "rt", encoding="utf-8") as lines:
        next(lines)  # what file this is
        for line in lines:
            call = json.loads(line)
            messages = tuple(Message(one["role"], one["content"]) for one in call["request"]["messages"])
            estimate.learn(ChatRequest("m", messages, 0), Usage(prompt_tokens=call["prompt_tokens"]))
    scale = 10_000  # `of` rounds to whole tokens
    probe = ChatRequest("m", (Message("user", "x" * scale),), 0)
    per_character = (estimate.of(probe) - PER_MESSAGE) / scale
    return lambda text: len(text) * per_character


def exact_count(tokenizer: Path) -> Count:
    """By a tokenizer's own file (`tokenizer.json`)."""
    from tokenizers import Tokenizer

    encode = Tokenizer.from_file(str(tokenizer)).encode
    return cache(lambda text: len(encode(text, add_special_tokens=False).ids))


@contextmanager
def _store() -> Iterator[ContextStore]:
    """The demo's store, or the same harvest made again (a minute)."""
    made = RESULTS / "demo" / "stores" / "subject"
    if (made / "manifest.json").exists():
        yield ContextStore.open(made)
        return
    assets = RESULTS / "assets"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "subject"
        command = [sys.executable, "-m", "sae.cli.main", "harvest", "--corpus", str(assets / "corpus")]
        command += ["--subject", str(assets / "subject-A"), "--dictionary", str(assets / "dictionary-A")]
        subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield ContextStore.open(out)


def cases_of(store: ContextStore, preset: Preset, seed: int, min_density: float) -> list[Case]:
    """The first units of the demo's draw that the preset can split; explanations are as long as those of the demo."""
    records = []
    for kind in (Kind.FEATURE, Kind.NEURON):
        for unit in select(store, kind, UNITS, seed, min_density):
            record = split_unit(store, unit, preset.splits, seed)
            records += [] if isinstance(record, Unscored) else [record]
    texts = [f"words and marks of the kind that number {number} stands for" for number in range(len(records))]
    said = [
        Explanation(record.unit, text, "benchmark", Provenance(method="benchmark"))
        for record, text in zip(records, texts, strict=True)
    ]
    others = said[1:] + said[:1]
    return [Case(*one) for one in zip(records, said, others, strict=True)]


def table(results: dict[str, Any]) -> str:
    """All rows, for a person."""
    head = (
        "",
        "calls",
        "prompt",
        "prefix",
        "cached",
        "completion",
        "price",
        "with caching",
        "of naive",
        "with caching",
    )
    keys = ("calls", "prompt", "prefix", "cached", "completion", "price", "price_with_caching")
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for counted, presets in results.items():
        for preset, rows in presets.items():
            for name, row in rows.items():
                if name == "units":
                    continue
                for role, one in {"explanation": row}.items() if name == "explanation" else row.items():
                    ratios = [f"{one[key]:.3f}" if key in one else "" for key in ("of_naive", "of_naive_with_caching")]
                    label = f"{preset}, {role}" + ("" if name == "explanation" else f": {name}") + f" ({counted})"
                    lines.append(f"| {' | '.join([label, *(f'{one[key]:,.0f}' for key in keys), *ratios])} |")
    return "\n".join(lines)


def run() -> dict[str, Any]:
    """{how counted: {preset: {way: {role: tokens per unit}}}}; the table goes to standard error."""
    job = load_job(RESULTS / "demo.toml")
    counts = {
        "estimate": learnt_estimate(RESULTS / "demo" / "ledger.jsonl.gz"),
        "subject's tokenizer": exact_count(RESULTS / "assets" / "subject-A" / "tokenizer.json"),
    }
    with _store() as store:
        cases = {one.name: cases_of(store, one, job.seed, job.units.min_density) for one in (OPENAI, TM)}
        results = {
            name: {one.name: measure(one, cases[one.name], count) for one in (OPENAI, TM)}
            for name, count in counts.items()
        }
    sys.stderr.write(table(results) + "\n")
    return results


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))  # noqa: T201
