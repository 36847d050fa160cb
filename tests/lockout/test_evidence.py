"""Evidence: what an archive holds, what it says of what could not be read, and that one byte more or less is seen."""

import hashlib
import io
import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from local.in_memory import BOB, ORGANIZATION, World
from lockout.__main__ import main
from lockout.commands import evidence
from lockout.deployment import Deployment
from tests.lockout.conftest import Clients, Run

FILES = {"one.json": b"[1]", "logs/two.json": b'["two"]', "README.txt": b"read"}
FUNCTION_NAMES = {f"{name}FunctionName": name for name in evidence.FUNCTIONS}
CALL = {"eventName": "DeleteMobileDeviceAccessOverride", "eventTime": "2026-11-27T15:00:00Z"}


def whole() -> bytes:
    return evidence.pack({**FILES, evidence.MANIFEST: evidence._manifest(FILES)})


def packed(files: dict[str, bytes]) -> bytes:
    return evidence.pack({**files, evidence.MANIFEST: evidence._manifest(FILES)})


# The check


def test_an_archive_is_whole_and_the_same_files_make_the_same_bytes() -> None:
    assert evidence.faults(whole()) == []
    assert whole() == whole()


def test_any_one_flipped_byte_is_seen() -> None:
    archive = whole()
    for at in range(len(archive)):
        for mask in (1, 0x80):
            flipped = bytearray(archive)
            flipped[at] ^= mask
            assert evidence.faults(bytes(flipped)), f"byte {at}"


def test_a_byte_of_a_file_is_seen_under_its_name_also_if_the_archive_is_packed_anew() -> None:
    inside = whole().replace(b'["two"]', b'["twp"]')
    assert evidence.faults(inside) == ["logs/two.json: it is not what was written"]
    assert evidence.faults(packed({**FILES, "logs/two.json": b'["twp"]'})) == evidence.faults(inside)


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (packed({name: FILES[name] for name in ("one.json", "README.txt")}), ["logs/two.json: it is missing"]),
        (packed({**FILES, "three.json": b"[]"}), ["three.json: it is one too many"]),
        (evidence.pack(FILES)[:0], ["the archive can't be read: File is not a zip file"]),
        (whole() + b"x", ["the archive: a byte between its files is not what was written"]),
        (b"x" + whole(), ["the archive: a byte between its files is not what was written"]),
    ],
)
def test_a_file_that_is_missing_or_too_many_is_named(archive: bytes, said: list[str]) -> None:
    assert evidence.faults(archive) == said


def test_an_archive_without_a_manifest_is_none() -> None:
    assert "SHA256SUMS: it is missing" in evidence.faults(evidence.pack(FILES))


def test_other_tools_read_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(whole())) as archive:
        archive.extractall(tmp_path)
    summed = subprocess.run(["sha256sum", "-c", evidence.MANIFEST], cwd=tmp_path, capture_output=True, check=False)
    assert summed.returncode == 0, summed.stderr


def test_the_command_says_which_and_its_status_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "it.zip"
    file.write_bytes(whole())
    assert main(["evidence", "verify", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: every byte is as it was written\n"
    file.write_bytes(whole().replace(b"[1]", b"[2]"))
    assert main(["evidence", "verify", str(file)]) == 1
    assert capsys.readouterr().out == "one.json: it is not what was written\n"
    assert main(["evidence", "verify", str(tmp_path / "missing.zip")]) == 2


# Collecting


class Table:
    """DynamoDB, of which the ledger's items are read."""

    def get_item(self, **asked: Any) -> dict[str, Any]:
        key = asked["Key"]
        return {"Item": {**key, "known": {"BOOL": True}}} if key["sk"]["S"].startswith("device#") else {}


class Everything(Clients):
    """Beside the usual clients: DynamoDB, Lambda, and stubs of CloudTrail, CloudWatch Logs and KMS."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.stubbed = {
            name: boto3.client(name, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
            for name in ("cloudtrail", "logs")
        }
        self.stubs = {name: Stubber(client) for name, client in self.stubbed.items()}
        self.signer: Any = None

    def __call__(self, service: str) -> Any:
        if service == "dynamodb":
            return Table()
        return self.signer if service == "kms" else self.stubbed.get(service) or super().__call__(service)

    def get_function_configuration(self, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        return {"LoggingConfig": {"LogGroup": f"/aws/lambda/{FunctionName}"}}


@pytest.fixture
def clients(world: World) -> Everything:
    clients = Everything(world)
    for stub in clients.stubs.values():
        stub.activate()
    return clients


@pytest.fixture
def incident(there: Deployment, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    there.outputs.update(FUNCTION_NAMES)  # type: ignore[attr-defined]
    run("lock", "bob", "ABC123", "--ref", "INC-1", "--note", "in a taxi \x1b[2J", "--yes", "--unverified")
    return run


def told(clients: Everything, event: str, device: str = "ABC123") -> None:
    """Let CloudTrail tell of a call about a device and of another, and the logs have a line for each function."""
    calls = [{**CALL, "requestParameters": {"deviceId": each}} for each in (device, "another")]
    for name, found in zip(evidence.CHANGES, ([], [*calls, {**CALL, "requestParameters": None}]), strict=True):
        clients.stubs["cloudtrail"].add_response(
            "lookup_events",
            {"Events": [{"CloudTrailEvent": json.dumps(each)} for each in found]},
            {
                "LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": name}],
                "StartTime": ANY,
                "EndTime": ANY,
            },
        )
    for name in evidence.FUNCTIONS:
        clients.stubs["logs"].add_response(
            "filter_log_events",
            {"events": [{"eventId": name, "timestamp": 1, "message": "{}"}]},
            {
                "logGroupName": f"/aws/lambda/{name}",
                "filterPattern": f'"{event}"',
                "startTime": ANY,
                "endTime": ANY,
            },
        )


def unpacked(file: Path) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    return {name: json.loads(text) if name.endswith(".json") else text for name, text in texts.items()}


def event_of(world: World) -> str:
    (event,) = {event for event, _ in world.ledger.outcomes}
    return event


def test_everything_of_a_ticket_is_in_one_archive(
    incident: Run, clients: Everything, world: World, tmp_path: Path
) -> None:
    told(clients, event_of(world))
    status, out, err = incident("evidence", "INC-1")
    assert status == 0, err
    found = unpacked(tmp_path / "INC-1.zip")
    assert [each["detail"]["result"] for each in found["timeline.json"]] == ["locked"]
    assert [item["sk"] for item in found["ledger.json"]] == [f"device#{BOB}#abc123"]
    (stands,) = found["workmail.json"]
    assert (stands["organization"], stands["user_id"], stands["device"]) == (ORGANIZATION, BOB, "abc123")
    assert stands["override"]["effect"] == "DENY"
    assert [each["requestParameters"] for each in found["cloudtrail.json"]] == [{"deviceId": "ABC123"}]
    assert [found[f"logs/{name}.json"][0]["eventId"] for name in evidence.FUNCTIONS] == [*evidence.FUNCTIONS]
    assert found["deployment.json"]["settings"]["owner"] == "local"
    assert "nothing: all of it was read" in found["README.txt"]
    assert hashlib.sha256(found["SHA256SUMS"].encode()).hexdigest() in out
    with zipfile.ZipFile(tmp_path / "INC-1.zip") as archive:
        assert not any(b"\x1b" in archive.read(name) for name in archive.namelist())
    assert evidence.faults((tmp_path / "INC-1.zip").read_bytes()) == []
    for stub in clients.stubs.values():
        stub.assert_no_pending_responses()


@pytest.mark.parametrize("what", ["bob", "ABC123"])
def test_a_user_or_a_device_will_do(
    what: str, incident: Run, clients: Everything, world: World, tmp_path: Path
) -> None:
    told(clients, event_of(world))
    assert incident("evidence", what, "-o", "it.zip")[0] == 0
    assert [item["device"] for item in unpacked(tmp_path / "it.zip")["workmail.json"]] == ["abc123"]


def test_what_could_not_be_read_is_listed_with_the_reason(incident: Run, clients: Everything, tmp_path: Path) -> None:
    for service, call in (("cloudtrail", "lookup_events"), *(("logs", "filter_log_events"),) * 3):
        clients.stubs[service].add_client_error(call, "AccessDeniedException", "no identity-based policy allows it")
    status, _, err = incident("evidence", "INC-1")
    assert status == 1
    found = unpacked(tmp_path / "INC-1.zip")
    missing = {"cloudtrail.json", *(f"logs/{name}.json" for name in evidence.FUNCTIONS)}
    assert not missing & found.keys()
    for name in missing:
        assert f"{name}: AWS does not allow " in found["README.txt"]
        assert f"not read: {name}: AWS does not allow " in err
    assert evidence.faults((tmp_path / "INC-1.zip").read_bytes()) == []


def test_of_what_nobody_knows_there_is_no_archive(incident: Run, tmp_path: Path) -> None:
    status, out, err = incident("evidence", "INC-9")
    assert (status, out) == (1, "")
    assert err.startswith("lockout: nothing is known of INC-9\n")
    assert not [*tmp_path.glob("*.zip")]


def test_an_archive_is_only_for_verify(incident: Run, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"")
    for words in (("INC-1", str(tmp_path / "a.zip")), ("verify",)):
        status, out, err = incident("evidence", *words)
        assert (status, out) == (2, "")
        assert err.startswith("lockout: expected WHAT alone, or verify and an archive\n")


def test_an_archive_is_not_written_over_another(
    incident: Run, clients: Everything, world: World, tmp_path: Path
) -> None:
    told(clients, event_of(world))
    (tmp_path / "INC-1.zip").write_bytes(b"older")
    status, _, err = incident("evidence", "INC-1")
    assert (status, (tmp_path / "INC-1.zip").read_bytes()) == (1, b"older")
    assert "INC-1.zip: File exists" in err


# The signature


class Signer:
    """KMS, with one RSA key."""

    def __init__(self) -> None:
        self.private = rsa.generate_private_key(65537, 2048)
        self.pem = self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def get_public_key(self, KeyId: str) -> dict[str, bytes]:  # noqa: N803
        assert KeyId == "alias/evidence"
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return {"PublicKey": self.private.public_key().public_bytes(serialization.Encoding.DER, form)}

    def sign(self, **asked: Any) -> dict[str, bytes]:
        assert (asked["KeyId"], asked["MessageType"], asked["SigningAlgorithm"]) == (
            "alias/evidence",
            "DIGEST",
            "RSASSA_PSS_SHA_256",
        )
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return {"Signature": self.private.sign(asked["Message"], pss, utils.Prehashed(hashes.SHA256()))}


def test_a_signature_is_checked_by_its_key_offline(
    incident: Run, clients: Everything, world: World, tmp_path: Path
) -> None:
    told(clients, event_of(world))
    clients.signer, other = Signer(), Signer()
    assert incident("evidence", "INC-1", "--sign", "alias/evidence")[0] == 0
    archive = (tmp_path / "INC-1.zip").read_bytes()
    assert evidence.faults(archive) == []
    ours, theirs = tmp_path / "public.pem", tmp_path / "other.pem"
    ours.write_bytes(clients.signer.pem)
    theirs.write_bytes(other.pem)
    assert evidence.faults(archive, ours) == []
    wrong = "SHA256SUMS.sig: it is not this key's signature of SHA256SUMS"
    assert evidence.faults(archive, theirs) == [wrong]
    assert evidence.faults(whole(), theirs) == [wrong]
    (tmp_path / "no.pem").write_text("no key")
    assert evidence.faults(archive, tmp_path / "no.pem") == [wrong]
    assert main(["evidence", "verify", "INC-1.zip", "--key", "public.pem"]) == 0
    with zipfile.ZipFile(tmp_path / "INC-1.zip") as packed_:
        packed_.extractall(tmp_path)
        assert packed_.read("public.pem") == clients.signer.pem
    said = (tmp_path / "README.txt").read_text()
    (line,) = [line for line in said.splitlines() if line.strip().startswith("openssl ")]
    ran = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_key_that_kms_does_not_give_writes_nothing(incident: Run, clients: Everything, world: World) -> None:
    class Refusing:
        def get_public_key(self, **_: Any) -> None:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetPublicKey")

    told(clients, event_of(world))
    clients.signer = Refusing()
    assert incident("evidence", "INC-1", "--sign", "alias/evidence")[0] == 4
    assert not Path("INC-1.zip").exists()


def test_the_log_of_the_sweeps_has_each_row_that_they_planned(clients: Everything, incident: Run) -> None:
    row = {"action": "expire", "userId": "h-1", "deviceId": "h-2", "over": "2026-11-22T07:30:00Z", "because": "over"}
    lines = [{"message": "planned", "item": row}, {"message": 'the rows "planned" were sent', "run": "r"}]
    clients.stubs["logs"].add_response(
        "filter_log_events",
        {"events": [{"timestamp": 1_795_000_000_000, "message": json.dumps(line)} for line in lines]},
        {
            "logGroupName": "/aws/lambda/SweepOverrides",
            "filterPattern": '"planned"',
            "startTime": ANY,
            "endTime": ANY,
        },
    )
    status, out, _ = incident("sweep", "log", "--since", "2h", "--json")
    assert (status, json.loads(out)) == (0, [{"time": "2026-11-18T11:06:40.000Z", **row}])
