"""The search of the protocol: clean as it is, and not clean with any one guard switched off."""

import subprocess
import sys
from pathlib import Path

import pytest

from verify import pairs
from verify.breaks import BREAKS, search
from verify.histories import walk
from verify.scenarios import SCENARIOS, SMALL

ROOT = Path(__file__).parent.parent.parent

NAMED_BY_THE_REVIEW = {
    "adopt",
    "dedup",
    "device-group-only",
    "expire-without-release-time",
    "fail-on-unanswered",
    "foreign-deny",
    "fresh-read",
    "hand-written-check",
    "item-first",
    "ledger-first",
    "newest-release",
    "no-ttl",
    "older-lock-counts",
    "prior-first",
    "reassert",
    "scopes",
    "set-of-claims",
    "single-writer",
    "stored-outcome",
    "tie",
    "version",
    "wait-for-late-writes",
    "was-from-tag",
    "write-then-read",
}


@pytest.mark.parametrize("scenario", [scenario.name for scenario in SMALL])
def test_no_history_of_a_small_scenario_violates_an_invariant(scenario):
    found = search(scenario)
    assert found.violation is None, "\n".join((found.violation, *found.history))
    assert found.complete
    assert found.at_rest


@pytest.mark.parametrize("guard", BREAKS)
def test_switching_off_a_guard_is_noticed(guard):
    found = [search(scenario, guard) for scenario in BREAKS[guard].scenarios]
    violated = [one for one in found if one.violation]
    assert violated
    assert all(one.history for one in violated)


def test_a_guard_is_on_again_afterwards():
    for guard in BREAKS:
        search(BREAKS[guard].scenarios[0], guard)
    assert search("tie").violation is None
    assert search("prior").violation is None


def test_every_rule_that_the_review_of_the_protocol_names_has_a_switch():
    assert set(BREAKS) >= NAMED_BY_THE_REVIEW
    assert all(guard.rule.endswith(".") for guard in BREAKS.values())
    assert all(SCENARIOS[scenario].small for guard in BREAKS.values() for scenario in guard.scenarios)


def test_two_sweeps_mend_every_pair_of_override_and_record():
    checked = pairs.check(every=41)
    assert checked.violation is None, checked.pair
    assert checked.pairs > 900


@pytest.mark.slow
def test_random_histories_violate_no_invariant():
    walk(300, same_every_time=True)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--list"], 0, "\n".join(BREAKS)),
        (["--break", "tie"], 1, "The shortest failing history, in scenario 'tie':"),
        (["--break", "nonsense"], 2, "no guard is called 'nonsense'"),
    ],
)
def test_the_command_says_what_it_found(arguments, status, said):
    command = [sys.executable, "-m", "verify", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": "functions"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    assert said in done.stdout + done.stderr
