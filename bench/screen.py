"""What one screen costs inside the plugin: CPU of `umbridge_screen` on a case as the worker hands it over.

    python bench/screen.py [calls]

Prints p50 and p99 in microseconds for each subset, with every fact known and with half of them, and beside
them the time of a calibration loop: machines drift by a factor of three, the ratio does not.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable

import umbridge_interqual_like as plugin
from umbridge_kit.boundary_patients import case, choices

from umbridge import Level, ReviewType


def calibration() -> float:
    """Seconds of CPU for a fixed loop; about 0.045 on a quiet core of the machine the figures are from."""
    began, total = time.process_time(), 0
    for i in range(1_000_000):
        total += i
    return time.process_time() - began


def spent(work: Callable[[], object], calls: int) -> tuple[float, float]:
    """p50 and p99 of one call, in microseconds of CPU."""
    times = []
    for _ in range(calls):
        began = time.process_time_ns()
        work()
        times.append((time.process_time_ns() - began) / 1000)
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100]


def main(calls: int) -> None:
    rng = random.Random(1)
    loop = min(calibration() for _ in range(3))
    print(json.dumps({"calibration_seconds": round(loop, 4), "calls": calls}))
    for subset in plugin.LIBRARY.subsets.values():
        values = {
            fact: False if (options := choices(subset, fact)) == (False, True) else rng.choice(options)
            for fact in subset.rules.facts
        }
        half = {fact: value for fact, value in values.items() if rng.random() < 0.5}
        line: dict[str, object] = {"subset": subset.id}
        for name, known, review in (
            ("full", values, ReviewType.ADMISSION),
            ("half", half, ReviewType.ADMISSION),
            ("continued", values, ReviewType.CONTINUED_STAY),
        ):
            question = case(plugin.LIBRARY, subset, known, Level.ACUTE, review=review)
            plugin.umbridge_screen(question)  # an undecided combination is worked out once, then remembered
            p50, p99 = spent(lambda asked=question: plugin.umbridge_screen(asked), calls)  # type: ignore[misc]
            line[name] = {
                "p50_us": round(p50, 1),
                "p99_us": round(p99, 1),
                "loops": round(p50 / loop / 1e6, 5),
            }
        print(json.dumps(line))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
