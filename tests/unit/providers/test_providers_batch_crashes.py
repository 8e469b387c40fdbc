"""kill -9 at every step of a batch's way: nothing is lost, and nothing that the vendor has is submitted again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import batch_crasher
from support.batch_vendors import serving_vendor

from autointerp.protocols import request_key
from autointerp.providers.ledger import Ledger

STEPS = 15  # more than there are; those past the end are told by the process


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_killed_at_every_step_the_next_run_ends_the_same_and_nothing_is_run_twice(
    name: str, tmp_path: Path
) -> None:
    with serving_vendor() as vendor:
        killed = subprocess.run(
            [sys.executable, batch_crasher.__file__, name, vendor.url, str(tmp_path), "0", str(STEPS)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        ended = [int(line) for line in killed.stdout.split()]
        # Steps: open, register, get, upload, claim, create, submitted, get, progress, results, record (each question),
        # finish. The last numbers came to their end, and only they.
        assert ended == list(range(STEPS - len(ended), STEPS))
        assert 12 + batch_crasher.QUESTIONS <= STEPS - len(ended) < STEPS
        lost_ids = 0
        provider = batch_crasher.provider_of(name, vendor.url)
        for number in range(STEPS):
            async with Ledger(tmp_path / f"{number}.sqlite") as ledger:
                lost_ids += [row.state for row in ledger.batches.rows()] == ["submitting"]
                found = await batch_crasher.texts(provider, ledger, number)
                assert found == [f"answer to {number}: {one}" for one in range(batch_crasher.QUESTIONS)]
                # Where every answer was recorded before, nothing was asked, and nobody looked after the batch.
                [state] = [row.state for row in ledger.batches.rows()]
                assert state in ("done", "submitted")
                assert ledger.verify() == []
                assert ledger.statistics().failed == 0
            keys = {request_key(name, request) for request in batch_crasher.questions(number)}
            assert {key: vendor.ran[key] for key in keys} == dict.fromkeys(keys, 1), f"killed at step {number}"
        await provider.close()
        assert lost_ids == 2  # killed before it was sent, and after it: both look alike in the ledger
        assert len(vendor.batches) == STEPS
