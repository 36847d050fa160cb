import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import app
from configuration import loader
from configuration.loader import Configuration, Organization
from infra import bundling

ROOT = Path(__file__).parent.parent.parent

Resource = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """A synthesized template, with resources called as in infra/ (`ReportsQueue`) and references as text."""

    resources: dict[str, Resource]
    outputs: dict[str, Any]
    text: str

    def of_type(self, kind: str) -> dict[str, Resource]:
        return {
            name: resource["Properties"]
            for name, resource in self.resources.items()
            if resource["Type"] == f"AWS::{kind}"
        }

    def one(self, kind: str) -> Resource:
        (resource,) = self.of_type(kind).values()
        return resource

    def statements(self, role: str) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
        """What a role may do: actions and resources, statement by statement."""
        for policy in self.of_type("IAM::Policy").values():
            if role in policy["Roles"]:
                for statement in policy["PolicyDocument"]["Statement"]:
                    assert statement["Effect"] == "Allow"
                    assert statement.keys() <= {"Effect", "Action", "Resource"}
                    yield frozenset(as_list(statement["Action"])), frozenset(as_list(statement["Resource"]))


def read_template(directory: Path) -> Template:
    """The template of the one stack in a cloud assembly."""
    (file,) = directory.glob("*.template.json")
    text = file.read_text(encoding="utf-8")
    template = json.loads(text)
    names = {logical: called(logical) for logical in template["Resources"]}
    assert len(set(names.values())) == len(names), "two resources would be called the same"
    resources = {names[logical]: _plain(resource, names) for logical, resource in template["Resources"].items()}
    return Template(resources, _plain(template["Outputs"], names), text)


def called(logical: str) -> str:
    """A resource's logical ID as in infra/, without CDK's hash."""
    return re.sub(r"[0-9A-F]{8}$", "", logical)


def _plain(value: Any, called: dict[str, str]) -> Any:
    """Intrinsic functions as text: a reference as the name, an attribute as `Name.Attribute`."""
    match value:
        case {"Ref": name}:
            return called.get(name, name)
        case {"Fn::GetAtt": [name, attribute]}:
            return f"{called[name]}.{attribute}"
        case {"Fn::Join": [separator, parts]}:
            return separator.join(_plain(part, called) for part in parts)
        case {"Fn::Sub": text}:
            return text
        case dict():
            return {key: _plain(each, called) for key, each in value.items()}
        case list():
            return [_plain(each, called) for each in value]
    return value


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.fixture(scope="session")
def deployment() -> Configuration:
    """The example, with a second organization."""
    example = loader.load("example", ROOT / "config")
    second = Organization(id="m-" + "f" * 32, alias="second")
    return replace(example, organizations=(*example.organizations, second))


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Configuration], Template]:
    """Synthesize a deployment; without CDK's own check of the template, which `test_rules.py` makes."""

    def synthesized(deployment: Configuration) -> Template:
        directory = tmp_path_factory.mktemp("assembly")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CDK_VALIDATION", "false")
            app.synthesize(deployment, bundling.package(deployment.settings()), directory)
        return read_template(directory)

    return synthesized


@pytest.fixture(scope="session")
def template(synthesize: Callable[[Configuration], Template], deployment: Configuration) -> Template:
    return synthesize(deployment)


@pytest.fixture(scope="session")
def local_template(synthesize: Callable[[Configuration], Template]) -> Template:
    return synthesize(loader.load("local", ROOT / "config"))
