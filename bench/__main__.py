"""`python -m bench` measures, prints a table and writes `.local/bench.json`.

Each part adds its figures to `.local/bench-part.json`. A whole run then renames that file to `.local/bench.json`. The
figures of a failed, quick or partial run stay in `.local/bench-part.json`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import Figures, burst, chain, cold_start, sweeps
from infra.bundling import ROOT

TARGETS: dict[str, tuple[str, float]] = {
    "cold_start_over_floor_route_events": ("<=", 1.05),
    "cold_start_over_floor_apply_commands": ("<=", 1.05),
    "cold_start_over_floor_sweep_overrides": ("<=", 1.05),
    "asset_mb": ("<=", 3),
    "warm_over_floor": ("<=", 1.2),
    "burst_share": (">=", 0.98),
    "burst_requests_per_lock": ("<=", 2.1),
    "burst_lost": ("<=", 0),
    "burst_dead_lettered": ("<=", 0),
    "burst_killed": ("<=", 0),
    "fresh_lock_s": ("<=", 5),
    "sweep_cpu_ratio": ("<=", 1.2),
    "sweep_peak_mb": ("<=", 80),
    "removal_ratio_cli": (">=", 20),
    "synth_s": ("<=", 5),
}
"""The aims. A missed one fails nothing, because the machine may be busy."""


ONE_QUEUE = """
import sys, app
app.prepare_jsii()
from aws_cdk import App, Stack, aws_sqs
checked = {"@aws-cdk/core:validateAgainstDefaultRules": True}
made = App(outdir=sys.argv[1], analytics_reporting=False, context=checked)
aws_sqs.Queue(Stack(made, "Stack"), "Queue", enforce_ssl=True)
made.synth()
"""
"""The least work of CDK: to start, to import one of its modules, and to check a template."""


def main() -> None:
    """Measure the chosen parts, print the table and write the file."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=[*PARTS], action="append", help="measure only this; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: to see that it runs")
    arguments = parser.parse_args()
    scale = 10 if arguments.quick else 1
    file = ROOT / ".local" / "bench-part.json"
    file.parent.mkdir(exist_ok=True)
    figures: Figures = {}
    for name in arguments.only or PARTS:
        print(f"{name} …", file=sys.stderr, flush=True)
        figures |= PARTS[name](scale)
        file.write_text(json.dumps({name: round(figure, 4) for name, figure in figures.items()}, indent=1) + "\n")
    if not (arguments.only or arguments.quick):
        file.replace(file.with_name("bench.json"))
    print(f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}")
    for name, figure in figures.items():
        sign, target = TARGETS.get(name, ("", 0.0))
        met = figure <= target if sign == "<=" else figure >= target
        aim = f"  aim {sign} {target:g}  {'met' if met else 'missed'}" if sign else ""
        print(f"  {name:45} {figure:12.3f}{aim}")


def _cold_starts(scale: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        return cold_start.measure(Path(work), rounds=max(3, 15 // scale))


def _synth(scale: int) -> Figures:
    """Measure the median seconds of `make synth`, with and without the check, and of CDK for one queue."""
    commands = {
        "synth_s": ["app.py", "--config", "local", "--output"],
        "synth_unchecked_s": ["app.py", "--unchecked", "--config", "local", "--output"],
        "synth_floor_s": ["-c", ONE_QUEUE],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        for _ in range(max(1, 5 // scale)):
            for name, command in commands.items():
                started = time.monotonic()
                subprocess.run([sys.executable, *command, f"{work}/{name}"], cwd=ROOT, check=True)
                seconds[name].append(time.monotonic() - started)
    return {name: statistics.median(each) for name, each in seconds.items()}


def _removals(scale: int) -> Figures:
    return sweeps.removals(1000 // scale, sequential=100 // scale, by_cli=max(3, 10 // scale))


def _fresh_lock(scale: int) -> Figures:
    return sweeps.fresh_lock(10_000, per_second=100, tries=max(3, 15 // scale))


PARTS: dict[str, Callable[[int], Figures]] = {
    "cold-start": _cold_starts,
    "synth": _synth,
    "chain": lambda scale: chain.measure(max(3, 15 // scale), burst=300 // scale),
    "removals": _removals,
    "fresh-lock": _fresh_lock,
    "sweep": lambda scale: sweeps.million(1_000_000 // scale),
    "burst": lambda scale: burst.measure(10_000 // scale, per_second=100),
}
"""The parts. Each one's argument divides its usual work."""


if __name__ == "__main__":
    main()
