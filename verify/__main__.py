"""Search all histories of the scenarios, and exit with status 1 if one violates an invariant.

``--break NAME`` switches a guard off and searches the small scenarios up to the first violation, likely ones first.
With ``--small`` it searches all of them.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from time import perf_counter

from verify import sweep_pairs
from verify.breaks import BREAKS, search
from verify.explorer import Found
from verify.scenarios import DEEP, LARGE, SMALL


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="verify", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--break", dest="guard", metavar="NAME", help="switch off one guard")
    parser.add_argument("--list", action="store_true", help="print the names of the guards, one a line")
    parser.add_argument("--small", action="store_true", help="search only the test suite's scenarios")
    parser.add_argument(
        "--deep", action="store_true", help="allow one fault more in every scenario, and leave out the pairs"
    )
    parser.add_argument(
        "--processes", type=int, default=min(2, os.process_cpu_count() or 1), help="search so many at once"
    )
    asked = parser.parse_args(arguments)
    if asked.list:
        print("\n".join(BREAKS))
        return 0
    if asked.guard is not None and asked.guard not in BREAKS:
        parser.error(f"no guard is called {asked.guard!r}; expected one of {', '.join(BREAKS)}")

    began = perf_counter()
    scenarios = SMALL if asked.small or asked.guard else DEEP if asked.deep else (*LARGE, *SMALL)
    names = [scenario.name for scenario in scenarios]
    until_violation = asked.guard is not None and not asked.small
    if asked.guard:
        names = list(dict.fromkeys((*BREAKS[asked.guard].scenarios, *names)))
        print(f"switched off: {asked.guard}. {BREAKS[asked.guard].rule}")
    print(f"{'scenario':<24}{'states':>10}{'transitions':>13}{'depth':>7}{'at rest':>9}{'blind':>9}{'seconds':>9}")
    found = []
    for one in _search(names, asked.guard, 1 if until_violation else asked.processes):
        print(_row(one), flush=True)
        found.append(one)
        if until_violation and one.violation:
            break
    failed = sorted((one for one in found if one.violation), key=lambda one: len(one.history))
    print(
        f"{sum(one.states for one in found):,} states, {sum(one.transitions for one in found):,} transitions,"
        f" violations in {len(failed)} of {len(found)} scenarios,"
        f" {sum(one.seconds for one in found):.0f} s of processor time in {perf_counter() - began:.0f} s"
    )
    cut = [one.scenario for one in found if not one.complete and not one.violation]
    if cut:
        print(f"not searched to the end: {', '.join(cut)}")
    if failed:
        _print_history(failed[0])
    agree = True
    if not asked.guard and not asked.deep:
        agree = _check_pairs(sweep_pairs.EVERY_SMALL if asked.small else sweep_pairs.EVERY)
    return 0 if agree and not failed and (asked.guard or not cut) else 1


def _search(names: list[str], guard: str | None, processes: int) -> Iterator[Found]:
    """Search the scenarios, ``processes`` at once. A single one searches lazily, in this process."""
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


def _print_history(found: Found) -> None:
    """Print the history, step by step."""
    print(f"\nThe shortest failing history, in scenario {found.scenario!r}:")
    for number, step in enumerate(found.history):
        print(f"{number:>4}  {step}")
    print(f"      → {found.violation}")


def _check_pairs(every: int) -> bool:
    """Sweep from pairs of override and record, print the result, and return whether all agree."""
    checked = sweep_pairs.check(every)
    print(f"{checked.pairs:,} pairs of override and record, a sweep from each, in {checked.seconds:.0f} s")
    if checked.violation:
        print(f"      → {checked.violation}\n{checked.pair}")
    return checked.violation is None


if __name__ == "__main__":
    sys.exit(main())
