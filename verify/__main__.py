"""``python -m verify``: search, print what was found, and exit with 1 on any violation.

``--break NAME`` switches one guard off first and searches the small scenarios until one fails, those first in which it
shows soonest, or all of them with ``--small``; ``--list`` prints the names of guards.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from time import perf_counter

from verify import pairs
from verify.breaks import BREAKS, search
from verify.explorer import Found
from verify.scenarios import DEEP, LARGE, SMALL


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="verify", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--break", dest="guard", metavar="NAME", help="switch off one guard")
    parser.add_argument("--list", action="store_true", help="print the names of the guards, one a line")
    parser.add_argument("--small", action="store_true", help="only the test suite's scenarios")
    parser.add_argument("--deep", action="store_true", help="every scenario with one fault more, and no pairs")
    parser.add_argument("--processes", type=int, default=min(2, os.process_cpu_count() or 1))
    asked = parser.parse_args(arguments)
    if asked.list:
        print("\n".join(BREAKS))
        return 0
    if asked.guard is not None and asked.guard not in BREAKS:
        parser.error(f"no guard is called {asked.guard!r}: expected one of {', '.join(BREAKS)}")

    began = perf_counter()
    scenarios = SMALL if asked.small or asked.guard else DEEP if asked.deep else (*LARGE, *SMALL)
    names = [scenario.name for scenario in scenarios]
    until_noticed = asked.guard is not None and not asked.small
    if asked.guard:
        names = list(dict.fromkeys((*BREAKS[asked.guard].scenarios, *names)))
        print(f"switched off: {asked.guard}. {BREAKS[asked.guard].rule}")
    print(f"{'scenario':<24}{'states':>10}{'transitions':>13}{'depth':>7}{'at rest':>9}{'blind':>9}{'seconds':>9}")
    found = []
    for one in _searched(names, asked.guard, 1 if until_noticed else asked.processes):
        print(_row(one), flush=True)
        found.append(one)
        if until_noticed and one.violation:
            break
    failed = sorted((one for one in found if one.violation), key=lambda one: len(one.history))
    print(
        f"{sum(one.states for one in found):,} states, {sum(one.transitions for one in found):,} transitions,"
        f" violations in {len(failed)} of {len(found)} scenarios,"
        f" {sum(one.seconds for one in found):.0f} s of processor time, {perf_counter() - began:.0f} s"
    )
    cut = [one.scenario for one in found if not one.complete and not one.violation]
    if cut:
        print(f"not searched to the end: {', '.join(cut)}")
    if failed:
        _tell(failed[0])
    mended = True
    if not asked.guard and not asked.deep:
        mended = _pairs(40 if asked.small else pairs.EVERY)
    return 0 if mended and not failed and (asked.guard or not cut) else 1


def _searched(names: list[str], guard: str | None, processes: int) -> Iterator[Found]:
    """Search each scenario, several at a time; one at a time in this process, and only as it is asked for."""
    if processes == 1:
        yield from map(partial(search, guard=guard), names)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(partial(search, guard=guard), names)


def _row(found: Found) -> str:
    return (
        f"{found.scenario:<24}{found.states:>10,}{found.transitions:>13,}{found.depth:>7}{found.at_rest:>9,}"
        f"{found.blind:>9,}{found.seconds:>9.1f}{'  VIOLATION' if found.violation else ''}"
    )


def _tell(found: Found) -> None:
    """The shortest failing history, step by step."""
    print(f"\nThe shortest failing history, in scenario {found.scenario!r}:")
    for number, step in enumerate(found.history):
        print(f"{number:>4}  {step}")
    print(f"      → {found.violation}")


def _pairs(every: int) -> bool:
    """Sweep from pairs of override and record, and say how it went."""
    checked = pairs.check(every)
    print(f"{checked.pairs:,} pairs of override and record, a sweep from each, {checked.seconds:.0f} s")
    if checked.violation:
        print(f"      → {checked.violation}\n{checked.pair}")
    return checked.violation is None


if __name__ == "__main__":
    sys.exit(main())
