"""A few rows of the fault matrix, beside the other tests; `make faults` runs all of it."""

from datetime import timedelta
from pathlib import Path

import pytest

from local import lifecycle
from local.deployment import Deployment
from local.fault_matrix.matrix import MATRIX, SHORT_MATRIX
from local.fault_matrix.run import MatrixRun, table


@pytest.mark.overlapping
def test_nothing_is_lost_while_workmail_throttles_and_falls_silent_and_the_queue_repeats(
    deployment: Deployment, state: Path
) -> None:
    server = lifecycle.find(state)
    assert server is not None
    rows = tuple(row for row in MATRIX if row.name in SHORT_MATRIX)
    said: list[str] = []
    run = MatrixRun(deployment, server.pid, rows, said.append)
    results = run.run(short_lock=timedelta(seconds=15), listing=False)
    assert not run.violations, said
    assert not any(result.violations for result in results), "\n".join([*said, *table(results)])
    assert len(results) == len(SHORT_MATRIX)
