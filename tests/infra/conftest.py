import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import app
from config_reader import loader
from config_reader.loader import Configuration
from device_lockout.values.settings import Organization
from infra import bundling

ROOT = Path(__file__).parent.parent.parent

Resource = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """A synthesized template. Resources have their names of infra/ (`ReportsQueue`), and references are text."""

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
        """The actions and resources of a role's statements."""
        for policy in self.of_type("IAM::Policy").values():
            if role in policy["Roles"]:
                for statement in policy["PolicyDocument"]["Statement"]:
                    assert statement["Effect"] == "Allow"
                    assert statement.keys() <= {"Effect", "Action", "Resource", "Condition"}
                    yield frozenset(as_list(statement["Action"])), frozenset(as_list(statement["Resource"]))


def read_template(directory: Path) -> Template:
    """Read the template of the one stack in a cloud assembly."""
    (file,) = directory.glob("*.template.json")
    text = file.read_text(encoding="utf-8")
    template = json.loads(text)
    names = {logical: name_of(logical) for logical in template["Resources"]}
    assert len(set(names.values())) == len(names), "two resources have the same name"
    resources = {names[logical]: _plain(resource, names) for logical, resource in template["Resources"].items()}
    return Template(resources, _plain(template["Outputs"], names), text)


def name_of(logical: str) -> str:
    """A logical ID without CDK's hash, as in infra/."""
    return re.sub(r"[0-9A-F]{8}$", "", logical)


def _plain(value: Any, names: dict[str, str]) -> Any:
    """Write intrinsic functions as text: a reference as the name, an attribute as `Name.Attribute`."""
    match value:
        case {"Ref": name}:
            return names.get(name, name)
        case {"Fn::GetAtt": [name, attribute]}:
            return f"{names[name]}.{attribute}"
        case {"Fn::Join": [separator, parts]}:
            return separator.join(_plain(part, names) for part in parts)
        case {"Fn::Sub": text}:
            return text
        case dict():
            return {key: _plain(member, names) for key, member in value.items()}
        case list():
            return [_plain(element, names) for element in value]
    return value


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.fixture(scope="session")
def deployment() -> Configuration:
    """The example, with a second organization."""
    example = loader.load("example")
    second = Organization(id="m-" + "f" * 32, alias="second")
    organizations = (*example.settings.organizations, second)
    return replace(example, settings=replace(example.settings, organizations=organizations))


@pytest.fixture(scope="session")
def forwarded() -> Configuration:
    return forwarded_from()


def forwarded_from() -> Configuration:
    """The example, with a source whose events come from another account and region."""
    example = (loader.DIRECTORY / "example.toml").read_text(encoding="utf-8")
    more = """
[[sources]]
name = "hub/lock"
forwarders = ["security"]
pattern = { source = ["aws.securityhub"], account = ["444455556666"], detail = { actionName = ["Lock device"] } }
realm = "account"
action = "lock-user"
reason = "compromised"
user = "detail.user"

[[forwarders]]
name = "security"
account = "444455556666"
region = "us-east-1"
"""
    return loader.read(f'account = "123456789012"\n{example}{more}', "config/example.toml")


@pytest.fixture(scope="session")
def asset() -> Path:
    """One package for all templates. They have only its hash, and a build takes seconds."""
    return bundling.package(loader.load("example").settings)


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory, asset: Path) -> Callable[[Configuration], Template]:
    """Synthesize a deployment without CDK's own check of the template. `test_app.py` has that check."""

    def synthesized(deployment: Configuration) -> Template:
        directory = tmp_path_factory.mktemp("assembly")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CDK_VALIDATION", "false")
            app.synthesize(deployment, asset, directory)
        return read_template(directory)

    return synthesized


@pytest.fixture(scope="session")
def template(synthesize: Callable[[Configuration], Template], deployment: Configuration) -> Template:
    return synthesize(deployment)


@pytest.fixture(scope="session")
def local_template(synthesize: Callable[[Configuration], Template]) -> Template:
    return synthesize(loader.load("local"))
