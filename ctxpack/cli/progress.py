"""How far a cache is warmed: a bar on standard error, and the sums."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from datetime import timedelta
from typing import Any

from ctxpack.warming.warmer import Warmed


class WarmingProgress:
    """Adds up what was done, and says how long the rest takes at most.

    Args:
        total_bytes: of all files; None where nobody knows.
    """

    def __init__(self, total_bytes: int | None) -> None:
        self.total_bytes = total_bytes
        self.done = Warmed()
        self.interrupted = False
        self._started = self._last = time.perf_counter()
        self._encoding_s = self._encoded_bytes = 0.0

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._last - self._started

    @property
    def passages_per_s(self) -> float:
        """Passages a second, loading the model included."""
        return self.done.passages / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Until the end, if all that is left must be encoded; None while nothing was.

        What is skipped takes next to no time, and says nothing about the rest.
        """
        if self.total_bytes is None or not self._encoded_bytes:
            return None
        left = max(0.0, self.total_bytes - self.done.n_bytes)
        return left * self._encoding_s / self._encoded_bytes

    def add(self, warmed: Warmed) -> None:
        """Count what was done since the last call."""
        now = time.perf_counter()
        if warmed.encoded:
            self._encoding_s += now - self._last
            self._encoded_bytes += warmed.n_bytes * warmed.encoded / warmed.segments
        self._last = now
        self.done = self.done.plus(warmed)

    def follow(self, work: Generator[Warmed, None, None]) -> None:
        """Do the work under a bar, until it is done or somebody presses Ctrl-C."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[counts]}"))
        console = Console(stderr=True)
        with (
            closing(work),
            Progress(*columns, console=console, disable=not console.is_terminal) as bar,
        ):
            task = bar.add_task("", total=self.total_bytes, counts="loading")
            try:
                for warmed in work:
                    self.add(warmed)
                    bar.update(task, completed=self.done.n_bytes, counts=self._counts())
            except KeyboardInterrupt:
                self.interrupted = True

    def _counts(self) -> str:
        left = self.seconds_left
        shown = "" if left is None else f"at most {timedelta(seconds=round(left))} left, "
        hits = self.done.segments - self.done.encoded
        return (
            f"{shown}{_counted(self.done.passages, 'passage')} ({self.passages_per_s:,.0f}/s),"
            f" {hits:,} hits, {self.done.encoded:,} misses"
        )

    def summary(self) -> str:
        """Return the sums as a line."""
        done = self.done
        return (
            f"{_counted(done.passages, 'passage')}, {_counted(done.segments, 'segment')}:"
            f" {done.segments - done.encoded:,} were there, {done.encoded:,} encoded"
            f" ({done.bytes_written / 1e6:,.1f} MB), {timedelta(seconds=round(self.seconds))}"
            f" ({self.passages_per_s:,.0f} passages/s)"
        )

    def data(self) -> dict[str, Any]:
        """Return the sums as data for JSON."""
        done = self.done
        return {
            "passages": done.passages,
            "segments": done.segments,
            "hits": done.segments - done.encoded,
            "misses": done.encoded,
            "bytes_written": done.bytes_written,
            "errors": done.errors,
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
        }


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
