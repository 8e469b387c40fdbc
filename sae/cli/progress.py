"""Progress as plain lines, where standard error is a file or a pipe and no bar can be drawn."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_EVERY_S = 30.0


@dataclass(slots=True)
class Lines:
    """Stages as lines: one at the end of each stage, and before it at most one in `every_s`.

    names: of the stages, as a person reads them; of: what is counted, such as "tokens". write: takes a line; standard
    error by default. clock: seconds.
    """

    names: dict[str, str]
    of: str
    write: Callable[[str], object] = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: T201
    clock: Callable[[], float] = time.monotonic
    every_s: float = _EVERY_S
    _reported: dict[str, tuple[float, int]] = field(default_factory=dict)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Takes note that so many are done. The first note of a stage may be of what an earlier run had done."""
        now = self.clock()
        if stage not in self._reported:
            self._reported[stage] = (now, done)
        then, before = self._reported[stage]
        if done < total and now - then < self.every_s:
            return
        self._reported[stage] = (now, done)
        rate = (done - before) / (now - then) if now > then else 0.0
        parts = [f"{done:,} of {total:,} {self.of}"]
        parts += [f"{rate:,.0f} {self.of}/s"] if rate >= 1 else []
        parts += [f"about {(total - done) / rate:,.0f} s left"] if rate and done < total else []
        self.write(f"{self.names[stage]}: {', '.join(parts)}")
