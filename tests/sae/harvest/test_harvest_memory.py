"""Memory that does not grow with the corpus: the peak of a process over eight times as many tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from harvest_fakes import write_corpus, zipf_blocks

_SCRIPT = """
import resource, sys
from pathlib import Path
from harvest_fakes import HOOK, FakeSubject, random_dictionary
from sae.corpus import Corpus
from sae.harvest import HarvestSettings, Source, harvest
source = Source(FakeSubject.random(0, vocab=300, width=64), HOOK, random_dictionary(0, d_in=64, d_sae=256, bias=-5.0),
                "d", Corpus.open(sys.argv[1]), "heldout")
settings = HarvestSettings(window=16, top=10, per_interval=2, random=20, out_of_context=10, tokens=int(sys.argv[2]))
harvest(source, settings, Path(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_peak_memory_is_that_of_an_eighth_of_the_tokens(tmp_path: Path) -> None:
    tokens = 32_000
    blocks = np.concatenate([zipf_blocks(seed, tokens // 64, 64, 300) for seed in range(8)])
    write_corpus(tmp_path / "c", blocks, vocab=300)
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[3])])
    peaks = []
    for times in (1, 8):
        command = [sys.executable, "-c", _SCRIPT, str(tmp_path / "c"), str(times * tokens), str(tmp_path / f"s{times}")]
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
    # To hold all activations above zero of the other 224,000 tokens would take 100 MB.
    assert peaks[1] - peaks[0] < 40, f"{peaks[0]:.0f} MB, then {peaks[1]:.0f} MB"
