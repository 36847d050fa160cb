"""How pytest-xdist shares the tests out among its workers, and what all of them measured."""

from pathlib import PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.measured import MEASURED

TOGETHER = ("tests/local/end_to_end", "tests/local/end_to_end/under_stress", "tests/infra")
"""Directories whose tests share what takes long to make: a deployed stack, a template. One worker runs each.

They are started first, in this order, since they take longest. What fills a ledger or breaks a function has a stack of
its own, so that it is in no other's way.
"""


def directory(path: str) -> str | None:
    """The innermost of :data:`TOGETHER` that a test is in."""
    return max((top for top in TOGETHER if PurePosixPath(path).is_relative_to(top)), key=len, default=None)


class ByDirectory(LoadScopeScheduling):
    """Shares out whole files, and as one the directories of `TOGETHER`.

    xdist's own `--dist loadgroup` reads the group from the end of a test's node ID, where pytest no longer puts it.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return directory(path) or path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByDirectory | None:
    """Answer with the scheduler for `--dist loadscope`; xdist has the others."""
    return ByDirectory(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of `TOGETHER` first: xdist hands out groups in the order in which it finds them."""

    def place(item: pytest.Item) -> int:
        top = directory(item.nodeid.partition("::")[0])
        return TOGETHER.index(top) if top else len(TOGETHER)

    items.sort(key=place)


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
