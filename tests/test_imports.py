"""The import contract of pyproject.toml, broken on purpose in a copy of the tree: one breach of each kind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("functions", "config_reader", "infra", "local", "lockout", "bench", "verify")

BREACHES = [
    ("device_lockout.values.instant", "device_lockout.decisions.plan"),
    ("device_lockout.decisions.warnings", "device_lockout.protocol.steps"),
    ("device_lockout.protocol.users", "device_lockout.aws.ledger"),
    ("device_lockout.protocol.fan_out", "device_lockout.inbound.report"),
    ("device_lockout.aws.event_bus", "device_lockout.decisions.retention"),
    ("device_lockout.inbound.webhook", "device_lockout.wiring"),
    ("device_lockout.inbound.contract", "device_lockout.decisions.retention"),
    ("device_lockout.values.tag", "os"),
    ("device_lockout.decisions.decision", "time"),
    ("device_lockout.protocol.ports", "boto3"),
    ("device_lockout.inbound.event_mapping", "botocore"),
    ("device_lockout.values.policy", "config_reader.loader"),
    ("device_lockout.aws.call_rate", "local.in_memory"),
    ("config_reader.loader", "device_lockout.inbound.report"),
    ("infra.queues", "device_lockout.aws.command_queue"),
    ("config_reader.sources", "lockout.commands.inventory"),
    ("infra.notices", "bench.burst"),
    ("bench.writers", "apply_commands"),
    ("device_lockout.wiring", "route_events"),
    ("verify.world", "tests"),
    ("local.connection", "tests"),
]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a tree with all these breaches and a new module outside the layers."""
    root = tmp_path_factory.mktemp("broken")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for module, imported in BREACHES:
        file = root / f"{module.replace('.', '/')}.py"
        file = file if file.exists() else root / "functions" / file.relative_to(root)
        with file.open("a", encoding="utf-8") as source:
            source.write(f"\nimport {imported}\n")
    (root / "functions" / "device_lockout" / "misplaced.py").touch()
    checked = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'functions'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 1, checked.stdout + checked.stderr
    return " ".join(checked.stdout.split())


@pytest.mark.parametrize(("module", "imported"), BREACHES)
def test_a_breach_of_the_import_contract_is_refused(module: str, imported: str, refused: str) -> None:
    assert f" {module} -> {imported} (l." in refused


def test_every_contract_is_broken_by_one_of_them(refused: str) -> None:
    assert " 0 kept, " in refused


def test_a_module_outside_the_layers_is_refused(refused: str) -> None:
    assert "device_lockout.misplaced" in refused
