"""`python -m tests.fuzz`: try many mutated inputs on every target, and keep those that break one.

A broken input is made smaller and kept in `tests/fuzz/found/TARGET/`, where `make test` tries it again.
"""

import argparse
import hashlib
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from random import SystemRandom

from tests.fuzz import search
from tests.fuzz.targets import FOUND, TARGETS

AT_A_TIME = 2500
"""Inputs of one task of a process."""


def main() -> int:
    """Try the inputs in several processes, and print a row for each target. Return 1 if any input broke one."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many in all (%(default)s)")
    parser.add_argument("--only", choices=TARGETS, help="all of them for this target")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**9), help="begin here (by chance)")
    chosen = parser.parse_args()
    shares = {chosen.only: 100} if chosen.only else {name: target.share for name, target in TARGETS.items()}
    jobs = [
        (name, range(chosen.seed + first, chosen.seed + min(first + AT_A_TIME, inputs)))
        for name, share in shares.items()
        for inputs in [chosen.inputs * share // 100]
        for first in range(0, inputs, AT_A_TIME)
    ]
    print(f"seed {chosen.seed}", flush=True)
    began, broke = time.monotonic(), dict.fromkeys(shares, 0)
    count, slowest, told = dict(broke), dict.fromkeys(shares, 0.0), set[str]()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        for done in as_completed([pool.submit(search.tried, *job) for job in jobs]):
            name, inputs, longest, broken = done.result()
            count[name] += inputs
            slowest[name] = max(slowest[name], longest)
            broke[name] += len(broken)
            for said, text in broken.items():
                if f"{name} {said}" not in told:
                    told.add(f"{name} {said}")
                    print(f"{name}: {said}\n  kept as {_keep(name, text)}", flush=True)
    for name in shares:
        print(f"{name:15} {count[name]:9,} inputs  slowest {1000 * slowest[name]:4.0f} ms  {broke[name]} kinds broke")
    print(f"{sum(count.values()):,} inputs in {time.monotonic() - began:,.0f} s")
    return 1 if any(broke.values()) else 0


def _keep(name: str, text: str) -> str:
    content = text.encode(errors="surrogatepass")
    file = FOUND / name / f"{hashlib.sha256(content).hexdigest()[:12]}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return str(file.relative_to(FOUND.parents[2]))


if __name__ == "__main__":
    sys.exit(main())
