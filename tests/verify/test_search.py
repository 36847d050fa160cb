"""The search of the protocol: clean as it is, and not clean with any one guard switched off."""

import itertools
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from device_lockout.values.errors import RefusedError
from device_lockout.values.record import DeviceRecord
from verify import sweep_pairs
from verify.__main__ import main
from verify.breaks import BREAKS, Between, Guard, search, switched_off
from verify.explorer import explore
from verify.histories import walk
from verify.processes import Switches
from verify.scenarios import SCENARIOS, SMALL

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("scenario", [scenario.name for scenario in SMALL])
def test_no_history_of_a_small_scenario_violates_an_invariant(scenario):
    found = search(scenario)
    assert found.violation is None, "\n".join((found.violation, *found.history))
    assert found.complete
    assert found.at_rest


@pytest.mark.parametrize("guard", BREAKS)
def test_switching_off_a_guard_is_noticed_by_the_command_and_its_shortest_history_told(guard, capsys):
    assert main(["--break", guard]) == 1
    said = capsys.readouterr().out
    assert BREAKS[guard].rule in said
    told = re.search(r"The shortest failing history, in scenario ['\"](.+)['\"]:\n((?: +\d+  \S.*\n){2,}) +→ \S", said)
    assert told
    assert told[1] in BREAKS[guard].scenarios


@pytest.mark.parametrize("guard", BREAKS)
def test_what_goes_wrong_before_a_scenario_begins_is_told_as_well(guard):
    for scenario in SMALL:
        with switched_off(guard) as switches:
            found = explore(scenario, switches, most_states=1)
        assert (found.violation is None) == (not found.history)


def test_a_break_that_no_longer_fits_the_code_is_an_error_and_no_violation(monkeypatch):
    unfit = Guard("unfit", lambda off: off.replace(DeviceRecord, "adopt", lambda: None), ())
    monkeypatch.setitem(BREAKS, "unfit", unfit)
    with pytest.raises(TypeError, match="unfit does not fit the code"):
        search("expiry", "unfit")


def test_a_violation_before_a_scenario_begins_has_its_history():
    found = search("expiry", "prior-first")
    assert found.states == 0
    assert found.history[0] == "before: L1(15) arrives"
    assert "puts DENY" in found.history[-1]


def test_a_history_that_fails_in_the_next_sweep_tells_of_that_sweep_too():
    found = search("tampered", "reassert")
    assert "sweep settle-1 starts" in " ".join(found.history)


def test_an_outcome_that_says_failed_of_what_is_done_is_noticed():
    def put_and_refuse(ports):
        def put(*call):
            ports.workmail.put(*call)
            raise RefusedError("no")

        return replace(ports, workmail=Between(ports.workmail, {"put": put}))

    found = explore(SCENARIOS["tie"], Switches(wrap=put_and_refuse))
    assert found.violation.endswith("DENY [L5(hold) until released was=none], which is what is wanted")


def test_a_guard_is_on_again_afterwards():
    for guard in BREAKS:
        with switched_off(guard):
            pass
    assert search("tie").violation is None
    assert search("prior").violation is None


def test_every_guard_has_a_rule_and_small_scenarios():
    assert all(guard.rule.endswith(".") for guard in BREAKS.values())
    assert all(SCENARIOS[scenario].small for guard in BREAKS.values() for scenario in guard.scenarios)


def test_a_sweep_mends_every_pair_of_override_and_record():
    checked = sweep_pairs.check(sweep_pairs.EVERY_SMALL)
    assert checked.violation is None, checked.pair
    assert checked.pairs > 900


@pytest.mark.parametrize("every", [sweep_pairs.EVERY, sweep_pairs.EVERY_SMALL])
def test_a_sample_of_the_pairs_leaves_no_part_out(every):
    tried = list(itertools.islice(sweep_pairs.all_pairs(), every - 1, None, every))
    for part in ("override", "device", "user"):
        assert {getattr(pair, part) for pair in tried} == {getattr(pair, part) for pair in sweep_pairs.all_pairs()}


@pytest.mark.slow
def test_random_histories_violate_no_invariant():
    for seed in range(1, 31):
        made, failed = walk(seed)
        assert failed is None, "\n".join(failed.history)
        assert made["go on"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("guard", "seed"),
    [
        ("name-moves", 393),
        ("accepted-stays", 17),
        ("organization", 2),
        ("honoured-edits", 347),
        ("reason-at-most", 67),
        ("label-moves", 48),
        ("former-are-told", 48),
        ("watch-ends", 20),
        ("given-up-once", 428),
        ("flood-is-held", 4),
        ("held-pages-once", 4),
        ("let-through", 4),
        ("copy-is-held", 84),
        ("no-more-claims", 172),
        ("few-releases", 356),
        ("room-for-a-release", 52),
    ],
)
def test_a_random_history_shows_what_a_guard_of_the_rim_is_for(guard, seed):
    _, failed = walk(seed, guard)
    assert failed is not None


def test_a_random_history_that_fails_is_told_as_short_as_it_can_be(monkeypatch):
    monkeypatch.setattr(DeviceRecord, "released_at", lambda *_: None)
    failed = next(failed for _, failed in map(walk, range(7, 100)) if failed)
    assert failed.violation
    assert len(failed.history) < 40, "of more than a hundred steps"


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
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert said in done.stdout + done.stderr
