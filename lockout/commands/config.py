"""Read a configuration file without AWS and CDK. Tell its mistakes, what it means and what is deployed otherwise."""

import json
from collections.abc import Iterator
from typing import Any

import click

from config_reader import loader
from config_reader.loader import Configuration, ConfigurationError
from device_lockout.values import settings
from device_lockout.values.outcome import DRILL
from device_lockout.values.settings import WEBHOOK_PREFIX, Source
from lockout import output
from lockout.deployment import Deployment
from lockout.errors import DONE, NO

_EXPLAINED = {"name": 28, "may": 30, "who": 48, "events": 0}

config = click.Group(
    "config",
    help="A configuration: its mistakes, what it means, what is deployed. NAME is config/NAME.toml, or a .toml file.",
)


@output.command("lockout config check prod", within=config, prints="rows")
@click.argument("name")
def check(_: Deployment, name: str, form: str | None) -> int:
    """Print every mistake at once, without CDK. The exit status is 1 if there is any."""
    try:
        loader.load(name)
    except ConfigurationError as error:
        output.rows(({"mistake": problem} for problem in error.problems), {"mistake": 0}, form)
        return NO
    output.rows((), {}, form)
    output.say(f"{name} has no mistake")
    return DONE


@output.command("lockout config explain prod", "lockout config explain prod --csv", within=config, prints="rows")
@click.argument("name")
def explain(_: Deployment, name: str, form: str | None) -> int:
    """Print who may report what, by which events and on which bus, and for how long each reason locks."""
    whole = loader.load(name)
    rows = [*(_source(each, whole) for each in whole.settings.sources), *_reasons(whole)]
    output.rows((dict(zip(_EXPLAINED, row, strict=True)) for row in rows), _EXPLAINED, form)
    return DONE


def _source(source: Source, whole: Configuration) -> tuple[str, str, str, str]:
    route, mapping = whole.routes[source.name], source.mapping
    may = f"{mapping.action} {mapping.reason}".strip() if mapping else ", ".join(sorted(source.may))
    limits = [*sorted(source.releases), *["its own"] * source.releases_own_only]
    senders = [name.replace(".", " ", 1) for name in route.on_own_bus if name.startswith(WEBHOOK_PREFIX)]
    who = [*route.forwarders, *route.publishers, route.organization, *senders]
    anybody = "the drill" if source.name == DRILL else f"whoever may put events on bus {route.bus or whole.bus}"
    events = f"bus {route.bus or whole.bus}: {json.dumps(route.pattern) if mapping else 'the contract'}"
    ends = f" (releases {', '.join(limits)} only)" if limits else ""
    return source.name, may + ends, ", ".join(filter(None, who)) or anybody, events


def _reasons(whole: Configuration) -> Iterator[tuple[str, str, str, str]]:
    for each in whole.settings.reasons.values():
        lasts, most, warned = (
            str(span or "until released").removesuffix(", 0:00:00")
            for span in (each.lock_for, each.at_most, each.warn_before)
        )
        ahead = f", warns {'ahead by' if each.lock_for else 'every'} {warned}" if each.warn_before else ""
        yield f"reason {each.name}", f"locks: {lasts}; at most: {most}{ahead}", "", ""


@output.command("lockout config diff prod", within=config, prints="rows")
@click.argument("name")
def diff(deployment: Deployment, name: str, form: str | None) -> int:
    """Print each setting that is not what the deployed functions run with. The exit status is 1 if there is any.

    What only the stack has, such as buses and publishers, `npx cdk diff` compares.
    """
    said, runs = (dict(_flat("", json.loads(settings.dump(each.settings)))) for each in (loader.load(name), deployment))
    differences = (
        {"key": key, "file": said.get(key), "deployed": runs.get(key)}
        for key in {**said, **runs}
        if said.get(key) != runs.get(key)
    )
    count = output.rows(differences, {"key": 44, "file": 28, "deployed": 0}, form)
    output.say(f"settings of {name} that are not what {deployment.stack} runs with: {count}")
    return NO if count else DONE


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each value in ``value`` with its key. The key of a table in a list is the table's name."""
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        value = {str(each.get("name") or each["alias"]): each for each in value}
    if not isinstance(value, dict):
        yield key, value
        return
    for name, each in value.items():
        yield from _flat(f"{key}.{name}" if key else name, each)
