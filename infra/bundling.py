"""The package that every function runs from: one zip of our sources, the pinned dependencies and the settings.

Built by plain pip, without Docker. The same inputs give the same bytes, so that nothing is deployed that did not
change; what was packaged before is taken from the cache.
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).parent.parent
FUNCTIONS = ROOT / "functions"
REQUIREMENTS = "requirements.txt"
CACHE = ROOT / ".local" / "asset"

BOTOCORE_SERVICES = ("dynamodb", "events", "secretsmanager", "sqs", "workmail")
"""The services whose models are packaged; botocore's other models are most of its size."""

PYTHON = "3.13"

Entries = dict[str, bytes]
"""Files of the package, by their name in the zip."""

_LEFT_OUT = re.compile(
    r"""
      (^|/)__pycache__/ | \.pyc$                          # bytecode of another path and date
    | (^|/)tests?/ | (^|/)examples?/                      # never imported
    | \.pyi$ | (^|/)py\.typed$
    | ^bin/                                               # command lines
    | \.dist-info/(?!METADATA$)                           # importlib.metadata and scanners for flaws read METADATA
    | ^botocore/data/(?!(endpoints|partitions|_retry|sdk-default-configuration)\.json$|(SERVICES)/)
    | ^botocore/data/.*/(examples|paginators|waiters)-    # unused: WorkMail has none, nothing else is paged or awaited
    """.replace("SERVICES", "|".join(BOTOCORE_SERVICES)),
    re.VERBOSE,
)


class BundlingError(Exception):
    """The package can't be built; the message says what pip said, or which file may not be in it."""


def package(settings: dict[str, Any]) -> Path:
    """The zip for these settings, built unless it is in the cache."""
    own = {**sources(), "settings.json": json.dumps(settings, indent=1, sort_keys=True).encode()}
    requirements = (FUNCTIONS / REQUIREMENTS).read_bytes()
    recipe = Path(__file__).read_bytes()
    archive = CACHE / f"{_digest(recipe, requirements, *_flat(own))}.zip"
    if not archive.exists():
        entries = dependencies(CACHE / f"dependencies-{_digest(requirements)}")
        _write(archive, {**entries, **own})
    return archive


def sources() -> Entries:
    """What is ours: everything in functions/ that git would keep, but for the list of requirements."""
    return {
        name: content
        for name, content in _files(FUNCTIONS)
        if name != REQUIREMENTS and not name.startswith(".") and not _LEFT_OUT.search(name)
    }


def dependencies(installed: Path) -> Entries:
    """What we import from others, installed once into `installed`; BundlingError if some of it is not pure Python."""
    if not installed.exists():
        _install(installed)
    entries = {name: content for name, content in _files(installed) if not _LEFT_OUT.search(name)}
    compiled = [name for name in entries if name.endswith((".so", ".pyd", ".dll", ".dylib"))]
    if compiled:
        raise BundlingError(
            f"{compiled[0]}: expected pure Python only, so that one package fits Lambda's processor and this machine's"
        )
    return entries


def _install(target: Path) -> None:
    """Install the pinned dependencies as pure Python wheels; appears at `target` whole or not at all."""
    with _unfinished(target) as unfinished:
        pip = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-qq"),
                *("--requirement", FUNCTIONS / REQUIREMENTS, "--require-hashes", "--no-deps", "--no-compile"),
                *("--only-binary", ":all:", "--python-version", PYTHON),
                *("--implementation", "py", "--abi", "none", "--platform", "any"),
                *("--target", unfinished),
            ],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if pip.returncode:
            raise BundlingError(f"functions/{REQUIREMENTS} could not be installed for the package:\n{pip.stdout}")


def _write(archive: Path, entries: Entries) -> None:
    """A zip of the entries that depends on nothing but them: sorted, one date, one mode."""
    with _unfinished(archive) as unfinished, zipfile.ZipFile(unfinished, "w") as zipped:
        for name, content in sorted(entries.items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100644 << 16
            zipped.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A place to make `target` at; it becomes `target` in one step, unless that failed or another was faster."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="unfinished-") as directory:
        unfinished = Path(directory) / target.name
        yield unfinished
        if not target.exists():
            unfinished.rename(target)


def _files(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in directory.rglob("*"):
        if path.is_file():
            yield PurePosixPath(path.relative_to(directory)).as_posix(), path.read_bytes()


def _flat(entries: Entries) -> Iterator[bytes]:
    for name, content in sorted(entries.items()):
        yield name.encode()
        yield content


def _digest(*parts: bytes) -> str:
    """One short digest of several parts; moving a byte from one part to the next changes it."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8))
        whole.update(part)
    return whole.hexdigest()[:20]
