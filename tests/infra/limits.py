"""Configurations of many sources, organizations and webhooks, up to the largest that are let through."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from config_reader import bus_limits
from config_reader.loader import Configuration
from config_reader.sources import Route
from device_lockout.values.settings import Organization, Source, Webhook

ORGANIZATION = "o-a1b2c3d4e5"


def many_sources(deployment: Configuration, number: int, name: str = "name", **route: Any) -> Configuration:
    """A deployment with so many sources; each may have publishers of its own."""
    sources = tuple(Source(f"{name}{each:04}", frozenset({"lock"})) for each in range(number))
    settings = replace(deployment.settings, owner="o" * 20, sources=sources)
    own = {key: value.format for key, value in route.items()}
    routes = {
        source.name: Route(
            {"source": [source.name]},
            publishers=(own["publishers"](source.name),) if "publishers" in own else (),
            organization=route.get("organization", ""),
        )
        for source in sources
    }
    return replace(deployment, settings=settings, routes=routes)


def of_size(deployment: Configuration, organizations: int, webhooks: int) -> Configuration:
    """A deployment with so many organizations and senders of webhooks."""
    settings = replace(
        deployment.settings,
        organizations=tuple(Organization(f"m-{number:032x}", f"o{number}") for number in range(organizations)),
        webhooks=tuple(Webhook(f"w{number}", "basic", f"lockout/sender-{number}") for number in range(webhooks)),
    )
    return replace(deployment, settings=settings)


def most(fits: Callable[[int], Configuration], kind: str) -> tuple[Configuration, str]:
    """The largest configuration that the loader lets through, and what it says of the next one."""
    for number in range(2, 300):
        said = [problem for problem in bus_limits.problems(fits(number)) if problem.startswith(kind)]
        if said:
            return fits(number - 1), said[0]
    raise AssertionError("nothing is too much")
