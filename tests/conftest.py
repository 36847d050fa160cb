"""How pytest-xdist shares the tests out among its workers, and what all of them measured."""

import os
from typing import Any

import pytest

from tests.measured import MEASURED

SHARED = ("state", "server", "synthesize")
"""Fixtures that take long to make: the deployed stack, a local AWS without it, templates. One worker makes each."""


def group_of(item: pytest.Item) -> str:
    """The group of an item: what shares such a fixture, else its file. A group runs in one worker."""
    fixtures = getattr(item, "fixturenames", ())
    return next((name for name in SHARED if name in fixtures), str(item.path))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests for `--dist loadgroup`. The longest group comes first, the one with the deployed stack."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    items.sort(key=lambda item: [*SHARED, group_of(item)].index(group_of(item)))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what was measured here, if this is a worker: its own output is not shown."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["measured"] = MEASURED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker measured."""
    MEASURED.extend(getattr(node, "workeroutput", {}).get("measured", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures."""
    if MEASURED:
        terminalreporter.section("measured")
        for line in MEASURED:
            terminalreporter.line(line)
