"""Evidence: one archive of everything about one incident, and the check that nothing in it changed."""

import base64
import hashlib
import io
import json
import re
import subprocess
import tempfile
import textwrap
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from device_lockout.aws.ledger_items import device_place
from device_lockout.values import settings
from device_lockout.values.device import DeviceKey
from device_lockout.values.errors import LockoutError
from lockout import lookup, output
from lockout.deployment import Deployment
from lockout.errors import DONE, NO, CommandError, explain

MANIFEST, SIGNATURE, PUBLIC_KEY = "SHA256SUMS", "SHA256SUMS.sig", "public.pem"
FUNCTIONS = ("RouteEvents", "ApplyCommands", "SweepOverrides")
CHANGES = ("PutMobileDeviceAccessOverride", "DeleteMobileDeviceAccessOverride")
OF_CLOUDTRAIL = timedelta(days=90)
"""https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html"""
AROUND = timedelta(hours=1)
"""Log lines and calls are read from so long before the first outcome. Lines are read until so long after the last."""

README = Path(__file__).with_name("evidence.txt")

type Files = dict[str, bytes]


@output.command(
    "lockout evidence INC-1234",
    "lockout evidence bob -o bob.zip --sign alias/evidence",
    "lockout evidence verify INC-1234.zip --key public.pem",
)
@click.argument("what")
@click.argument("archive", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "file", type=click.Path(path_type=Path), metavar="FILE", help="write it there (WHAT.zip)")
@click.option("--sign", metavar="KEY", help="sign the digests with this RSA key of KMS: an ID, ARN or alias")
@click.option("--key", type=click.Path(path_type=Path, exists=True), metavar="PEM", help="check the signature by it")
def evidence(
    deployment: Deployment, what: str, archive: Path | None, file: Path | None, sign: str | None, key: Path | None
) -> int:
    """Collect everything about WHAT in one archive: a ticket, an event ID, a user or a device.

    `verify ARCHIVE` says whether every byte is as it was written; the exit status is 1 if not. AWS is not called.
    Of a collection it is 1 if something could not be read, which the archive and standard error list.
    """
    if (what == "verify") != (archive is not None):
        raise click.UsageError("expected WHAT alone, or verify and an archive")
    if archive is not None:
        found = faults(archive.read_bytes(), key)
        for fault in found:
            output.line(fault)
        if not found:
            output.line(f"{archive}: every byte is as it was written{', and the signature is right' if key else ''}")
        return NO if found else DONE
    file = file or Path(f"{re.sub(r'[^\w-]+', '-', what).strip('-')}.zip")
    files, unread = collect(deployment, what, datetime.now(UTC))
    if sign:
        files |= _signed(deployment, sign, files[MANIFEST])
    with file.open("xb") as out:
        out.write(pack(files))
    output.line(f"{file}: {len(files)} files; SHA256SUMS is {hashlib.sha256(files[MANIFEST]).hexdigest()}")
    for name, why in unread.items():
        output.say(f"not read: {name}: {why}")
    return NO if unread else DONE


def collect(deployment: Deployment, what: str, now: datetime) -> tuple[Files, dict[str, str]]:
    """Return the files with their manifest, and what could not be read, with the reason.

    Raises CommandError if nothing is known of it.
    """
    told, organizations = lookup.history(deployment, what), deployment.settings.organizations
    keys = sorted(lookup.devices_in(told)) or [
        key for each in organizations for key in lookup.devices(deployment, each.id, what)
    ]
    told = told or [each for key in keys for each in lookup.history(deployment, key.device)]
    if not told and not keys:
        raise CommandError(f"nothing is known of {what}", "lockout history --since 7d")
    times = [lookup.time_of(each) for each in told] or [now - OF_CLOUDTRAIL]
    began, ended = min(times) - AROUND, max(times) + AROUND
    events = sorted({each["detail"]["eventId"] for each in told})

    def stands(key: DeviceKey) -> dict[str, Any]:
        override = deployment.workmail.get(key).override
        return key._asdict() | {"override": override.fields() if override else None}

    places = {place for key in keys for place in (device_place(key), (key.organization, f"user#{key.user_id}"))}
    reads: dict[str, Callable[[], Any]] = {
        "timeline.json": lambda: told,
        "ledger.json": lambda: [item for place in sorted(places) if (item := deployment.table.get(*place))],
        "workmail.json": lambda: [*map(stands, keys)],
        "cloudtrail.json": lambda: _calls(deployment, {key.device for key in keys}, began, now),
        **{f"logs/{each}.json": partial(_lines, deployment, each, events, began, ended) for each in FUNCTIONS},
        "deployment.json": lambda: {
            "stack": deployment.stack,
            "status": deployment.status,
            "outputs": {**deployment.outputs},
            "settings": json.loads(settings.dump(deployment.settings)),
        },
    }
    files, unread = {}, {}
    for name, read in reads.items():
        output.say(f"reading {name}")
        try:
            files[name] = json.dumps(read(), indent=1).encode()
        except (BotoCoreError, ClientError, LockoutError) as error:
            unread[name] = str(explain(error))
    listed = "\n".join(f"{name}: {why}" for name, why in unread.items()) or "nothing: all of it was read"
    said = {"what": what, "stack": deployment.stack, "now": f"{now:%F %T} UTC", "by": deployment.caller}
    readme = README.read_text(encoding="utf-8").format(**said, unread=listed)
    files["README.txt"] = output.text(readme).encode()
    return files | {MANIFEST: _manifest(files)}, unread


def _calls(deployment: Deployment, devices: set[str], since: datetime, now: datetime) -> list[dict[str, Any]]:
    """Return CloudTrail's events of changes of these devices' overrides, oldest first."""
    found = []
    for name in CHANGES:
        asked: Any = {"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": name}]}
        asked |= {"StartTime": max(since, now - OF_CLOUDTRAIL), "EndTime": now}
        events = deployment.listed("cloudtrail", "lookup_events", "Events", **asked)
        found += [json.loads(each["CloudTrailEvent"]) for each in events]
    about = [each for each in found if str((each["requestParameters"] or {}).get("deviceId")).casefold() in devices]
    return sorted(about, key=lambda each: str(each["eventTime"]))


def _lines(deployment: Deployment, name: str, events: list[str], since: datetime, until: datetime) -> list[Any]:
    """Return a function's log lines that name an event."""
    found = {
        (each["timestamp"], each["message"]): each
        for event in events
        for each in deployment.log(name, json.dumps(event), since, until)
    }
    return [line for _, line in sorted(found.items())]


def _manifest(files: Mapping[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()


def _signed(deployment: Deployment, key: str, manifest: bytes) -> Files:
    kms, digest = deployment.client("kms"), hashlib.sha256(manifest).digest()
    asked = {"KeyId": key, "Message": digest, "MessageType": "DIGEST", "SigningAlgorithm": "RSASSA_PSS_SHA_256"}
    lines = textwrap.fill(base64.b64encode(kms.get_public_key(KeyId=key)["PublicKey"]).decode(), 64)
    pem = f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"
    return {SIGNATURE: kms.sign(**asked)["Signature"], PUBLIC_KEY: pem.encode()}


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the archive of files. The same files make the same bytes, on any machine and at any time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            packed.writestr(entry, content)
    return out.getvalue()


def faults(archive: bytes, key: Path | None = None) -> list[str]:
    """Name the files of an archive that have changed. With a public key in PEM, openssl checks the signature, too."""
    files: dict[str, bytes | None] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            for entry in packed.infolist():
                files[entry.filename] = None
                with suppress(zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError):
                    if entry.compress_type == zipfile.ZIP_STORED:
                        files[entry.filename] = packed.read(entry)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        return [f"the archive can't be read: {error}"]
    manifest = files.get(MANIFEST) or b""
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in manifest.decode().splitlines())}
    found = [f"{name}: it is missing" for name in sorted({MANIFEST, *listed} - files.keys())]
    found += [f"{name}: it is one too many" for name in files.keys() - listed - {MANIFEST, SIGNATURE, PUBLIC_KEY}]
    for name, content in files.items():
        if content is None or (name in listed and hashlib.sha256(content).hexdigest() != listed[name]):
            found.append(f"{name}: it is not what was written")
    if not found and pack({name: content or b"" for name, content in files.items()}) != archive:
        found = ["the archive: a byte between its files is not what was written"]
    if key and not _is_signed(manifest, files.get(SIGNATURE) or b"", key):
        found.append(f"{SIGNATURE}: it is not this key's signature of {MANIFEST}")
    return found


def _is_signed(manifest: bytes, signature: bytes, key: Path) -> bool:
    with tempfile.NamedTemporaryFile() as written:
        Path(written.name).write_bytes(signature)
        pss = ("-sha256", "-sigopt", "rsa_padding_mode:pss", "-verify", key, "-signature", written.name)
        done = subprocess.run(["openssl", "dgst", *pss], input=manifest, capture_output=True, check=False)  # noqa: S607
    return done.returncode == 0
