"""A ledger is restored from a backup and adopted: nothing is locked again before a person has looked.

It has a local AWS of its own, since the stack's first table goes.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import app
from config_reader import loader
from infra import bundling
from local import lifecycle
from local.connection import Connection
from local.deploy import deploy, read
from local.deployment import Deployment
from local.up import stack_name, up
from tests.local.end_to_end.watching import new_device, new_users, result, seen

RESTORED = "ledger-restored"


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Path]:
    """The state directory of a local AWS that no other test uses."""
    try:
        up(tmp_path)
        yield tmp_path
    finally:
        lifecycle.stop(tmp_path)


def adopt(state: Path, directory: Path) -> Deployment:
    """Deploy the stack with the restored table as its ledger."""
    configuration = replace(loader.load("local"), ledger_table=RESTORED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CDK_VALIDATION", "false")
        app.synthesize(configuration, bundling.package(configuration.settings), directory)
    deploy(read(directory), Connection.read(state / "env"))
    return Deployment.find(Connection.read(state / "env"), stack_name(state))


def test_an_older_ledger_is_adopted_and_locks_again_only_after_a_persons_word(
    alone: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    there = Deployment.find(Connection.read(alone / "env"), stack_name(alone))
    (user,) = new_users(there, 1)
    kept, freed, fresh = (new_device() for _ in range(3))
    for device in (kept, freed):
        assert result(there, there.publish("Device Lost", userId=user, deviceId=device)) == "locked"
    there.sweep()
    assert there.sweep()["guard"] is None
    backup = there.dynamodb.create_backup(TableName=there.outputs["LedgerTableName"], BackupName="before")
    assert result(there, there.publish("Device Recovered", userId=user, deviceId=freed)) == "released"

    arn = backup["BackupDetails"]["BackupArn"]
    there.dynamodb.restore_table_from_backup(TargetTableName=RESTORED, BackupArn=arn)
    there = adopt(alone, tmp_path_factory.mktemp("adopting"))
    assert there.outputs["LedgerTableName"] == RESTORED
    waits = {"completed": True, "guard": "set-back", "enqueued": 0}
    assert there.sweep() == there.sweep() == waits
    assert result(there, there.publish("Device Lost", userId=user, deviceId=fresh)) == "locked", "reports are taken"
    assert there.override(user, freed) is None

    assert there.sweep(acceptLedger=RESTORED) == {"completed": True, "guard": None, "enqueued": 1}
    seen(there, "the backup's lock is back, as accepted", lambda: there.override(user, freed))
    assert there.sweep() == {"completed": True, "guard": None, "enqueued": 0}
    for device in (kept, freed, fresh):
        assert result(there, there.publish("Device Recovered", userId=user, deviceId=device)) == "released"
    assert there.dead_letters() == {}
