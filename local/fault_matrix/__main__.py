"""`make faults`: run the fault matrix on a local AWS of its own.

It prints one line for each row. The exit status is 1 if an invariant was broken.
"""

import argparse
import re
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from local import lifecycle
from local.connection import Connection
from local.deployment import Deployment
from local.fault_matrix.matrix import MATRIX
from local.fault_matrix.run import MatrixRun, table
from local.up import stack_name, up


def main() -> None:
    """Run the rows that are named on the command line, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m local.fault_matrix")
    parser.add_argument("rows", nargs="*", choices=[[], *(row.name for row in MATRIX)], help="all of them by default")
    chosen: list[str] = parser.parse_args().rows
    began = time.monotonic()

    def log(message: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {message}", flush=True)

    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        state = Path(directory)
        try:
            up(state)
            server = lifecycle.find(state)
            assert server is not None, "it was just started"
            deployment = Deployment.find(Connection.read(state / "env"), stack_name(state))
            rows = tuple(row for row in MATRIX if not chosen or row.name in chosen)
            run = MatrixRun(deployment, server.pid, rows, log)
            results = run.run(short_lock=timedelta(seconds=40))
            troubles = sorted({re.sub(r"[0-9a-f-]{8,}", "…", line) for line in deployment.troubles(run.began)})
        finally:
            lifecycle.stop(state)
    print()
    for row in rows:
        print(f"{row.name:<12} {row.description}")
    print()
    print("\n".join(table(results)))
    for violation in run.violations:
        print(f"VIOLATION    {violation}")
    if run.violations or any(result.violations for result in results):
        print("\n".join(troubles[:40]))
        sys.exit(1)
    print(f"\n{sum(result.reports for result in results)} reports under {len(results)} faults: no violation.")


if __name__ == "__main__":
    main()
