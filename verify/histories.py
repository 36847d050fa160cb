"""Long random histories of many events over several devices and users, with the same moves and invariants.

The search tries all histories of small scenarios; this tries some histories of large ones.
A scenario is drawn, and then ten histories of it, since a world that has run before runs faster.
Hypothesis could draw and shorten them, but takes longer for that than the histories do.
``python -m verify.histories 100000`` walks 100,000; a second argument is the seed of the first scenario.
"""

import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from random import Random
from time import perf_counter

from device_lockout.values.command import Enroll, Lock, Release
from device_lockout.values.policy import MOST_CLAIMS
from verify.breaks import switched_off
from verify.processes import Switches
from verify.scenario import (
    ALL_CALLS,
    ASSET,
    OWNER,
    USER_CALLS,
    Act,
    Event,
    Policy,
    Scenario,
    as_told,
    by_asset,
    by_mail,
    by_number,
    change,
    copy,
    enroll,
    labelled,
    lock,
    lock_user,
    numbered,
    release,
    release_user,
    retire,
    told_by,
    written,
)
from verify.scenarios import BROKEN_ALLOW, BROKEN_DENY, LEGAL_HOLD, OTHER_ALLOW, VIP
from verify.state import Move, State, ViolationError, at_rest
from verify.world import World

INSTANTS = (10, 16, 23, 31, 41)
STEPS = 120
"""How many moves a history has at most, before everything comes to rest."""
PER_SCENARIO = 10
"""How many histories of a scenario are walked."""

KINDS = 8
"""Of so many scenarios one each has a name of devices, names or settings that change, two organizations, or caps."""

_ROWS = (None, None, None, VIP, OTHER_ALLOW, LEGAL_HOLD, BROKEN_ALLOW, written(12), written(20, "ALLOW"))
_PUTS = (VIP, OTHER_ALLOW, LEGAL_HOLD, BROKEN_DENY, written(13), written(21, "ALLOW"))
_REWRITTEN = (
    ("[lockout", "SEC-9 [lockout"),
    ("until=", "until: "),
    (f"by={OWNER}", "by=other"),
    ("why=lost", "why=stolen"),
    ("at=2026", "at=2031"),
    ("id=", "id=0"),
    ("was=none", "was=allow"),
)
_SOURCES = ("helpdesk", "helpdesk", "mdm")
_KINDS = {
    "go on": ("deliver", "step", "sweep goes on", "land"),
    "arrive": ("arrive",),
    "fail": ("die", "dies", "sweep dies", "answer lost", "page fails", "page lacks a row", "dead letter"),
    "act": ("act",),
    "redrive": ("redrive", "let through", "drop"),
    "sweep": ("sweep",),
    "tick": ("tick",),
}
_WEIGHTS = (24, 6, 3, 3, 1, 2, 2)
"""How often a move of each kind is tried."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A history that violates an invariant.

    Attributes:
        seed: The seed of its scenario.
        scenario: The scenario.
        violation: The invariant that does not hold.
        history: The steps in words.
    """

    seed: int
    scenario: Scenario
    violation: str
    history: tuple[str, ...]


def scenario_of(draw: Random, owners: tuple[int, ...] = ()) -> Scenario:
    """Draw four devices of two users at most, with 16 events and copies and six acts at most.

    Each of the ``owners``, if there are any, has devices with the same IDs.
    """
    devices = tuple((draw.randrange(2), f"DEV{number}") for number in range(1, draw.randint(1, 4) + 1))
    if owners:
        devices = tuple((owner, f"DEV{number}") for number in range(1, draw.randint(1, 2) + 1) for owner in owners)
    events: list[Event] = []
    for number in range(draw.randint(2, 8)):
        events.append(_event(draw, number, devices))
        if draw.randrange(5) == 0:
            events.append(copy(events[-1]))
    acts = [_act(draw, len(devices)) for _ in range(draw.randint(0, 4))]
    losses = draw.choice(((), (), (), (), (Act("lose"),), (Act("keep"), Act("restore"), Act("accept"))))
    changed = any(event.change for event in events)
    if changed:  # the invariants ask the ledger what a change found
        losses = ()
    if losses:  # then the tag is all that says when a lock happened, and a person may have changed that
        acts = [act for act in acts if act.text[0] != "at=2026"]
    acts += losses
    edited = any(act.kind == "edit" for act in acts)
    if edited:  # the invariants follow an edit by the ID and the reason that the tag shows, on one device
        acts = [act for act in acts if act.kind != "carry" and not act.text[0].startswith(("why=", "id="))]
    return Scenario(
        "random",
        "drawn at random",
        tuple(events),
        tuple(acts),
        INSTANTS,
        rows=tuple(draw.choice(_ROWS) for _ in devices),
        devices=devices,
        sweeps=4,
        faults=draw.randint(0, 4),
        dead_letters=draw.random() < 0.5,
        max_event_age=30 * 86400 if changed else draw.choice((30 * 86400, 30 * 86400, 20)),
        # A full item drops what a longer lock outlasts, and a person may cut that one.
        most_claims=MOST_CLAIMS if edited or changed else draw.choice((MOST_CLAIMS, 2, 1)),
        page_size=draw.choice((1, 100)),
        pauses=draw.choice((USER_CALLS, ALL_CALLS)),
    )


def with_number(scenario: Scenario, *, asset: bool = False) -> Scenario:
    """Make a scenario one about a phone with a serial number, of which all its devices are mail clients.

    Devices are enrolled under the number, and every other report about a device names the number in its place. Nobody
    touches a user. With an asset tag there are more enrolments, some under another tag.
    """
    if asset:
        more = (
            enroll(f"I{number}#{name}", number, device, device_id=name, user=user)
            for device, (user, name) in enumerate(scenario.devices)
            for number in (1, 4 + device)
        )
        scenario = replace(scenario, events=(*more, *scenario.events))
    names = [event.name for event in scenario.events]

    def about_number(event: Event) -> Event:
        odd = names.index(event.copy_of or event.name) % 2
        if isinstance(event.command, Enroll):
            return labelled(event, ("A2", ASSET)[(odd + event.device) % 2]) if asset else numbered(event)
        about_device = event.device >= 0 and not event.body and isinstance(event.command, Lock | Release)
        if not (about_device and odd):
            return event
        return by_asset(event) if asset else by_number(event)

    acts = tuple(act for act in scenario.acts if act.kind not in ("disable", "enable", "exempt"))
    return replace(scenario, events=tuple(map(about_number, scenario.events)), acts=acts)


def with_names(scenario: Scenario, draw: Random) -> Scenario:
    """Make every other report of a scenario name its user by mail address. Addresses move, and users are deleted.

    Nobody loses the ledger, which knows whom a name meant, or puts one user's lock on the other's device.
    """
    names = [event.name for event in scenario.events]

    def about_address(event: Event) -> Event:
        named = not event.body and isinstance(event.command, Lock | Release)
        return by_mail(event) if named and names.index(event.copy_of or event.name) % 2 else event

    kept = (act for act in scenario.acts if act.kind not in ("lose", "keep", "restore", "accept", "carry"))
    acts = tuple(
        Act(draw.choice(("rename", "inherit", "inherit", "remove", "enable")), draw.randrange(2))
        for _ in range(draw.randint(1, 4))
    )
    return replace(scenario, events=tuple(map(about_address, scenario.events)), acts=(*kept, *acts))


def with_organizations(draw: Random) -> Scenario:
    """Draw a scenario of two organizations that have the same users, device IDs and serial number.

    Reports about the number are of one of them. Nobody loses the ledger.
    """
    scenario = scenario_of(draw, owners=(0, 2))
    kept = (act for act in scenario.acts if act.kind not in ("lose", "keep", "restore", "accept"))
    scenario = replace(scenario, acts=tuple(kept))
    return with_number(scenario) if draw.random() < 0.5 else scenario


def with_policies(scenario: Scenario, draw: Random) -> Scenario:
    """Let the settings of a scenario change up to four times. Nobody loses the ledger."""
    kept = (act for act in scenario.acts if act.kind not in ("lose", "keep", "restore", "accept"))
    policies = tuple(
        Policy(
            draw.choice(("all", "longer", "none")),
            frozenset(draw.choice((("lock", "release"), ("lock", "release"), ("lock",), ("release",)))),
            frozenset(draw.choice(((), ("lost",), ("stolen",)))),
            draw.choice((None, None, 4)),
        )
        for _ in range(3)
    )
    acts = [Act(draw.choice(("configure", "configure", "configure", "exempt"))) for _ in range(draw.randint(1, 4))]
    return replace(scenario, policies=policies, acts=(*kept, *acts))


def with_caps(scenario: Scenario, draw: Random) -> Scenario:
    """Hold what a source locks too much, and let items and the tamper watch come to their caps.

    Nobody loses the ledger, and the caps on items have no tags that a person edits.
    """
    kept = [act for act in scenario.acts if act.kind not in ("lose", "keep", "restore", "accept")]
    scenario = replace(scenario, locks_per_hour=draw.choice((None, 0, 1, 2)))
    if draw.random() < 0.5:
        acts = [Act(draw.choice(("delete", "flip")), draw.randrange(len(scenario.devices))) for _ in range(4)]
        kept = [act for act in kept if act.kind in ("disable", "enable", "exempt")]
        return replace(scenario, acts=(*kept, *acts), watched=True, most_put_back=draw.choice((0, 1, 2)))
    return replace(
        scenario,
        acts=tuple(act for act in kept if act.kind not in ("edit", "rewrite", "carry", "flip")),
        no_more_claims=draw.choice((1, 2, 3)),
        most_releases=draw.choice((1, 2)),
        most_claims=MOST_CLAIMS,
    )


def drawn(seed: int) -> Scenario:
    """Draw the scenario of a seed."""
    draw = Random(seed)  # noqa: S311 (no secret is drawn)
    match seed % KINDS:
        case 0:
            return with_number(scenario_of(draw), asset=draw.random() < 0.5)
        case 3:
            return with_policies(scenario_of(draw), draw)
        case 2:
            return with_organizations(draw)
        case 4:
            return with_caps(scenario_of(draw), draw)
        case 1:
            return with_names(scenario_of(draw, owners=(0, 1)), draw)
        case _:
            return scenario_of(draw)


def _act(draw: Random, devices: int) -> Act:
    device = draw.randrange(devices)
    match draw.randrange(6):
        case 0:
            return Act("put", device, draw.choice(_PUTS))
        case 1:
            return Act("edit", device, until=draw.choice((12, 20, 40)))
        case 2:
            return Act("rewrite", device, text=draw.choice(_REWRITTEN))
        case 3:
            return Act(draw.choice(("disable", "enable", "exempt")), device)
        case 4 if device + 1 < devices:
            return Act("carry", device)
        case _:
            return Act(draw.choice(("delete", "flip")), device)


def _event(draw: Random, number: int, devices: tuple[tuple[int, str], ...]) -> Event:
    device = draw.randrange(len(devices))
    user, name = devices[device]
    happened, until = draw.randint(1, 9), draw.choice((None, 15, 22, 30))
    lasts = until or "hold"
    told = draw.random() < 0.5
    match draw.choice(
        ("lock", "lock", "lock", "change", "release", "release", "lock user", "release user", "inventory")
    ):
        case "lock":
            counts = happened + 0.999 if told else happened
            event = lock(f"L{happened}({lasts})#{number}", counts, until, device, device_id=name, user=user)
            said = happened + draw.choice((0, 0, 300))
            return as_told(event, said=said, stamped=happened) if told else told_by(draw.choice(_SOURCES), event)
        case "release":
            event = release(f"R{happened}#{number}", happened, device, device_id=name, user=user)
            said = happened + draw.choice((0, 0, 300))
            return (
                as_told(event, said=said, stamped=happened, counts=said == happened) if told else _narrowed(draw, event)
            )
        case "change":
            scope = draw.choice((name, name, ""))
            until = draw.choice((13, 19, 27, 38))
            return _narrowed(
                draw, change(f"C{happened}({until})#{number}", happened, until, device, device_id=scope, user=user)
            )
        case "lock user":
            return told_by(draw.choice(_SOURCES), lock_user(f"U{happened}({lasts})#{number}", happened, until, user))
        case "release user":
            return _narrowed(draw, release_user(f"RU{happened}#{number}", happened, user))
        case _:
            make = draw.choice((enroll, retire))
            return make(f"I{happened}#{number}", happened, device, device_id=name, user=user)


def _narrowed(draw: Random, event: Event) -> Event:
    """Let some source tell of a release, which may end its own locks or some reasons only."""
    reasons = draw.choice(((), (), ("lost",), ("stolen", "compromised")))
    return told_by(draw.choice(_SOURCES), event, *reasons, own_only=draw.randrange(3) == 0)


def walk(seed: int, guard: str = "") -> tuple[Counter[str], Failed | None]:
    """Walk the histories of one scenario, without a guard if one is named.

    Return how often each kind of move was made, and the first violation.
    """
    with switched_off(guard) if guard else nullcontext(Switches()) as switches:
        return _walk(seed, switches)


def _walk(seed: int, switches: Switches) -> tuple[Counter[str], Failed | None]:
    scenario = drawn(seed)
    draw = Random(seed)  # noqa: S311 (no secret is drawn)
    world = World(scenario, switches)
    made: Counter[str] = Counter()
    for _ in range(PER_SCENARIO):
        moves: list[Move] = []
        try:
            state = world.initial()
            for _ in range(STEPS):
                state = _moved(world, state, draw, moves, made)
            state = world.drain(state._replace(faults=0))
            world.check_at_rest(state)
            world.check_swept(state)
        except ViolationError as violation:
            shorter = _shortened(scenario, moves, switches)
            return made, Failed(seed, scenario, str(violation), World(scenario, switches).tell(shorter, swept=True))
    return made, None


def _moved(world: World, state: State, draw: Random, moves: list[Move], made: Counter[str]) -> State:
    """Make one move of a kind that is drawn, if there is one, and check a state at rest."""
    (name,) = draw.choices([*_KINDS], _WEIGHTS)
    kinds = _KINDS[name]
    try:
        possible = [
            (move, after) for move, after in world.successors(state) if ("dies" if "dies" in move else move[0]) in kinds
        ]
    except ViolationError:
        moves.append(world.trying)
        raise
    if not possible:
        return state
    move, after = draw.choice(possible)
    moves.append(move)
    made[name] += 1
    if at_rest(after):
        world.check_at_rest(after)
        world.check_swept(after)
    return after


def _shortened(scenario: Scenario, moves: list[Move], switches: Switches) -> list[Move]:
    """Leave out each move without which some invariant is violated as well: late ones first, which depend on others."""
    before = None
    while before != moves:
        before = moves
        for index in reversed(range(len(before))):
            fewer = moves[:index] + moves[index + 1 :]
            if _violates(World(scenario, switches), fewer):
                moves = fewer
    return moves


def _violates(world: World, moves: list[Move]) -> bool:
    try:
        state = world.initial()
        for move in moves:
            found = next((after for tried, after in world.successors(state) if tried == move), None)
            if found is None:
                return False
            state = found
        state = world.drain(state._replace(faults=0))
        world.check_at_rest(state)
        world.check_swept(state)
    except ViolationError:
        return True
    return False


def main(histories: int, first_seed: int = 1) -> int:
    """Walk at least so many histories, two scenarios at once, up to a violation. Return the exit status."""
    began = perf_counter()
    made: Counter[str] = Counter()
    seeds = range(first_seed, first_seed + -(-histories // PER_SCENARIO))
    for walked, (moves, failed) in enumerate(_walks(seeds), 1):
        made += moves
        if failed:
            print(f"A history of the scenario of seed {failed.seed}: {failed.scenario}")
            for number, step in enumerate(failed.history):
                print(f"{number:>4}  {step}")
            print(f"      → {failed.violation}")
            return 1
        if walked % 1000 == 0:
            print(f"{walked * PER_SCENARIO:>9,} histories, {perf_counter() - began:.0f} s", flush=True)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in made.most_common())
    print(
        f"{len(seeds) * PER_SCENARIO:,} random histories of {len(seeds):,} scenarios, no violation,"
        f" in {perf_counter() - began:.0f} s; moves: {kinds}"
    )
    return 0


def _walks(seeds: range) -> Iterator[tuple[Counter[str], Failed | None]]:
    processes = min(2, os.process_cpu_count() or 1, len(seeds))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        # In portions, so that a violation does not wait for all that was asked for.
        waiting = iter(seeds)
        while portion := list(islice(waiting, 200)):
            yield from pool.map(walk, portion, chunksize=5)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
