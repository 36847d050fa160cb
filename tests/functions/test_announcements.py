"""The contract of events out: its schemas, a sample of each event, and its page, held against the real code.

``samples/out/`` has the outcomes of the reports in ``samples/``. To write it anew after a change:
``WRITE_SAMPLES=1 .venv/bin/python -m pytest tests/functions/test_announcements.py``
"""

import json
import os
import re
import typing
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from device_lockout.decisions import plan
from device_lockout.inbound import report
from device_lockout.protocol import announcement
from device_lockout.values.command import Command
from device_lockout.values.outcome import RESULTS, SOURCE, Outcome
from device_lockout.values.override import Override
from local.in_memory import (
    ANNOUNCED_SCHEMAS,
    BOB,
    DAY,
    CheckedBus,
    Wire,
    World,
    announced_schema,
    at,
    key,
    sweeping,
)

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples" / "out"
PAGE = (ROOT / "docs" / "events-out.md").read_text(encoding="utf-8")
SCHEMAS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(ANNOUNCED_SCHEMAS.glob("*.json"))
}
DETAIL_TYPES = {kind.detail_type for kind in RESULTS.values() if kind.detail_type} | {
    "Sweep Completed",
    "Sweep Refused",
    "Expiry Due Soon",
    "Lock Outlasts WorkMail",
    "Override Left Alone",
    "Daily Digest",
}


# The samples

CARLA, DAVE = "ca41a000-0000-4000-8000-000000000000", "da7e0000-0000-4000-8000-000000000000"


def organization(**policy: Any) -> World:
    """The users whom the samples name, in a deployment called ``prod``."""
    world = World(known=replace(sweeping(**policy), owner="prod"))
    world.workmail.names |= {"carla@example.com": CARLA, CARLA: CARLA, "dave@example.com": DAVE, DAVE: DAVE}
    return world


def reported(world: World, sample: str, seconds: float = 0, event_id: str = "2f6c1a52", **changed: str) -> Command:
    """The command of a sample of the contract, reported ``seconds`` later."""
    (entry,) = json.loads((ROOT / "samples" / f"{sample}.json").read_text(encoding="utf-8"))
    detail = json.loads(entry["Detail"]) | {"reportedAt": at(seconds).isoformat()} | changed
    event = {
        "id": f"{event_id}-0000-4000-8000-000000000000",
        "source": entry["Source"],
        "detail-type": entry["DetailType"],
        "detail": detail,
    }
    (command,) = report.read(json.dumps(event), "m", at(seconds + 1.204), world.settings)
    return command


def tell(world: World, sample: str, seconds: float = 0, event_id: str = "2f6c1a52", **changed: str) -> None:
    world.deliver(reported(world, sample, seconds, event_id, **changed), at(seconds + 1.613))


PHONE = key("ABC123")


def locked(world: World | None = None) -> World:
    world = world or organization()
    world.workmail.overrides[PHONE] = Override("ALLOW", "travel phone")
    tell(world, "device-lost")
    return world


def extended() -> World:
    world = locked()
    tell(world, "device-stolen", 60, "90ab12cd", userId="bob", deviceId="ABC123")
    return world


def shortened() -> World:
    world = locked()
    tell(world, "lock-changed", 60, "90ab12cd")
    return world


def denied_by_another() -> World:
    world = organization()
    world.workmail.overrides[PHONE] = Override("DENY", "quarantine, see SEC-9")
    tell(world, "device-lost")
    return world


def released() -> World:
    world = locked()
    tell(world, "device-recovered", 3600, "90ab12cd")
    return world


def expired() -> World:
    world = locked(organization(report_only_after_missed=1000))
    world.sweep(at(30 * DAY))
    return world


def superseded() -> World:
    world = organization()
    tell(world, "device-recovered", 3600, "90ab12cd")
    lost = reported(world, "device-lost")
    late = replace(lost, cause=replace(lost.cause, received=at(7201.204)))
    world.deliver(late, at(7201.613))
    return world


def undone() -> World:
    world = locked()
    del world.workmail.overrides[PHONE]
    world.sweep(at(3600))
    return world


def replaced() -> World:
    world = locked()
    world.workmail.overrides[PHONE] = Override("DENY", "legal hold, see LEG-4")
    world.sweep(at(3600))
    return world


def flooded() -> World:
    world = organization()
    world.settings = replace(
        world.settings, sources=tuple(replace(source, locks_per_hour=0) for source in world.settings.sources)
    )
    tell(world, "device-lost")
    return world


def edited() -> World:
    world = locked()
    description = world.workmail.overrides[PHONE].description or ""
    sooner = description.replace("until=2026-12-22", "until=2026-12-01")
    world.workmail.overrides[PHONE] = Override("DENY", sooner)
    world.sweep(at(3600))
    return world


def enrolled() -> World:
    world = organization()
    tell(world, "device-enrolled")
    return world


def of_a_user() -> World:
    world = enrolled()
    tell(world, "user-compromised", 60, "90ab12cd", userId="carla@example.com")
    return world


def rejected() -> World:
    world = organization()
    tell(world, "device-lost", userId="nobody")
    return world


def refused_by_workmail() -> World:
    world = organization()
    world.workmail.disabled.add(BOB)
    tell(world, "device-lost")
    return world


def swept(seconds: float, **policy: Any) -> World:
    world = locked(organization(**policy))
    world.plan(at(seconds), clock=lambda: at(seconds + 2.718))
    return world


def outlasting() -> World:
    world = locked(organization(report_only_after_missed=1000))
    (main,) = world.settings.organizations
    world.settings = replace(world.settings, organizations=(replace(main, ends_at=at(10 * DAY)),))
    world.plan(at(3600))
    return world


def of_the_day() -> World:
    world = outlasting()
    world.sweep(at(28 * DAY))
    told = announcement.of_day(world.ledger.timeline(at(0), at(29 * DAY), "today"), at(28 * DAY + 1800))
    assert told is not None
    world.bus.announce(told["detailType"], told["detail"])
    return world


EVENTS: dict[str, tuple[Callable[[], World], str]] = {
    # file                          what happened, and the detail-type
    "device-locked": (locked, "Device Locked"),
    "device-locked-of-user": (of_a_user, "Device Locked"),
    "lockout-extended": (extended, "Lockout Extended"),
    "lockout-shortened": (shortened, "Lockout Shortened"),
    "already-denied": (denied_by_another, "Already Denied"),
    "device-released": (released, "Device Released"),
    "lockout-expired": (expired, "Lockout Expired"),
    "lockout-superseded": (superseded, "Lockout Superseded"),
    "tampering-detected": (undone, "Tampering Detected"),
    "lockout-held": (flooded, "Lockout Held"),
    "lockout-adopted": (edited, "Lockout Adopted"),
    "override-left-alone": (replaced, "Override Left Alone"),
    "inventory-updated": (enrolled, "Inventory Updated"),
    "lockout-rejected": (rejected, "Lockout Rejected"),
    "lockout-failed": (refused_by_workmail, "Lockout Failed"),
    "sweep-completed": (lambda: swept(30 * DAY, report_only_after_missed=1000), "Sweep Completed"),
    "sweep-refused": (lambda: swept(30 * DAY), "Sweep Refused"),
    "lock-outlasts-workmail": (outlasting, "Lock Outlasts WorkMail"),
    "daily-digest": (of_the_day, "Daily Digest"),
    "expiry-due-soon": (lambda: swept(27 * DAY, report_only_after_missed=1000), "Expiry Due Soon"),
}


def event(sample: str) -> dict[str, Any]:
    """The event as it comes over the bus: what EventBridge adds is made up."""
    happen, detail_type = EVENTS[sample]
    detail = next(each for kind, each in happen().bus.announced if kind == detail_type)
    times = detail["times"]
    return {
        "version": "0",
        "id": str(uuid.UUID(detail["id"][:32])),
        "detail-type": detail_type,
        "source": SOURCE,
        "account": "111122223333",
        "time": f"{times.get('decided', times.get('done'))[:19]}Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": detail,
    }


@pytest.mark.parametrize("sample", EVENTS)
def test_a_sample_is_what_the_code_announces_and_satisfies_its_schema(sample: str) -> None:
    made = event(sample)
    if os.environ.get("WRITE_SAMPLES"):
        text = json.dumps(made, indent=2, ensure_ascii=False)
        (SAMPLES / f"{sample}.json").write_text(f"{text}\n", encoding="utf-8")
    kept = json.loads((SAMPLES / f"{sample}.json").read_text(encoding="utf-8"))
    assert kept == made
    fastjsonschema.validate(SCHEMAS[announced_schema(kept["detail-type"], kept["detail"])], kept["detail"])


def test_there_is_a_sample_of_each_detail_type_and_no_other() -> None:
    assert {detail_type for _, detail_type in EVENTS.values()} == DETAIL_TYPES
    assert {path.stem for path in SAMPLES.glob("*.json")} == EVENTS.keys()


# The schemas


def test_the_schemas_have_the_words_of_the_code() -> None:
    outcome, sweep = SCHEMAS["outcome"]["properties"], SCHEMAS["sweep"]["properties"]
    assert sorted(outcome["result"]["enum"]) == sorted(name for name, kind in RESULTS.items() if kind.detail_type)
    guards = typing.get_args(typing.get_type_hints(plan.Refusal)["guard"])
    assert {*sweep["guard"]["enum"]} == {*guards, None}
    assert {*sweep["first"]["items"]["properties"]["action"]["enum"]} == {*typing.get_args(plan.Action)}
    assert sweep["first"]["maxItems"] == announcement.SHOWN_ROWS
    assert {schema["properties"]["schemaVersion"]["const"] for schema in SCHEMAS.values()} == {
        announcement.SCHEMA_VERSION
    }


def test_every_field_is_required_and_says_what_it_is() -> None:
    for schema in SCHEMAS.values():
        fastjsonschema.compile(schema)
        assert schema["required"] == [*schema["properties"]]
        assert all(field["description"] for field in schema["properties"].values())


@pytest.mark.parametrize(
    "change",
    [{"result": "stolen"}, {"id": "1"}, {"page": None}, {"schemaVersion": 1}, {"colour": "red"}, {"until": "soon"}],
)
def test_the_tests_bus_refuses_what_no_schema_allows(change: dict[str, Any]) -> None:
    detail = event("device-locked")["detail"]
    CheckedBus(Wire()).announce("Device Locked", detail)
    with pytest.raises(fastjsonschema.JsonSchemaException):
        CheckedBus(Wire()).announce("Device Locked", detail | change)


# docs/events-out.md


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading of the page, without backticks."""
    section = re.split(r"^#+ ", PAGE.split(f"# {heading}\n", 1)[1], flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines[2:]]


def results() -> Iterator[tuple[str, str]]:
    """Each detail-type and result of the page; a detail-type holds for the rows below it."""
    detail_type = ""
    for first, words, *_ in rows("Results"):
        detail_type = first or detail_type
        yield from ((detail_type, word) for word in words.split(", "))


def test_the_page_has_every_result_under_its_detail_type() -> None:
    def announced(override: Override | None) -> set[tuple[str, str]]:
        outcomes = [Outcome(result, after=override) for result in RESULTS]
        return {(outcome.detail_type, outcome.result) for outcome in outcomes if outcome.announced}

    assert sorted(results()) == sorted(announced(None) | announced(Override("DENY")))


def described(field: dict[str, Any]) -> str:
    """The type of a field, as the page writes it."""
    if "type" in field:
        types = field["type"] if isinstance(field["type"], list) else [field["type"]]
    else:
        values = field.get("enum", [field.get("const")])
        types = list(dict.fromkeys({bool: "boolean", str: "string", type(None): "null"}[type(one)] for one in values))
    return " or ".join(types)


@pytest.mark.parametrize(
    ("schema", "heading"),
    [
        ("outcome", "The detail of an outcome"),
        ("sweep", "A run of the sweep"),
        ("warning", "A warning about a lock"),
        ("digest", "A digest"),
    ],
)
def test_the_page_has_every_field_in_the_words_of_its_schema(schema: str, heading: str) -> None:
    """The second and third table leave out the fields that mean the same as in an outcome."""
    before = {} if schema == "outcome" else SCHEMAS["outcome"]["properties"]
    fields = SCHEMAS[schema]["properties"].items()
    assert rows(heading) == [
        [name, described(field), field["description"]] for name, field in fields if field != before.get(name)
    ]


def test_the_page_quotes_a_sample() -> None:
    quoted = json.loads(re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[0])
    sample = json.loads((SAMPLES / "device-locked.json").read_text(encoding="utf-8"))
    assert quoted == {name: sample[name] for name in ("source", "detail-type", "detail")}
