"""How a comparison is timed: CPU time of this process, two in turn, the median of the rounds."""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))


class Row:
    """One comparison: the engine's time and the floor's, in microseconds of CPU for one unit of work."""

    def __init__(self, name: str, unit: str, ours: list[float], floor: list[float], what: str) -> None:
        self.name = name
        self.unit = unit
        self.ours = statistics.median(ours)
        self.floor = statistics.median(floor)
        self.ratio = statistics.median(a / b for a, b in zip(ours, floor, strict=True))
        self.what = what

    def __str__(self) -> str:
        figures = f"{self.ours:>10.2f} {self.floor:>10.2f} {self.ratio:>7.2f}x"
        return f"{self.name:<34} {figures}  {self.unit:<12} {self.what}"


def per_call(function: Callable[[], int], clock: Callable[[], float]) -> float:
    """CPU microseconds for one unit; `function` gives the number of units it did."""
    before = clock()
    units = function()
    return (clock() - before) * 1e6 / units


def compare(
    name: str,
    unit: str,
    ours: Callable[[], int],
    floor: Callable[[], int],
    what: str,
    clock: Callable[[], float] = time.process_time,
) -> Row:
    ours()
    floor()
    pairs = [(per_call(ours, clock), per_call(floor, clock)) for _ in range(ROUNDS)]
    return Row(name, unit, [a for a, _ in pairs], [b for _, b in pairs], what)


def compare_added(name: str, unit: str, ours: Callable[[], int], floor: Callable[[], int], what: str) -> list[Row]:
    """The comparison, and below it what was added to the floor."""
    row = compare(name, unit, ours, floor, what)
    return [row, Row("  of which added by the engine", unit, [row.ours - row.floor], [row.floor], "the bare one")]
