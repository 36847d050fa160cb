"""The package that every function runs from: one zip of our sources, the pinned dependencies and the settings.

Built by plain pip, without Docker. The same inputs and the same interpreter give the same bytes, so that nothing is
deployed that did not change; what was packaged before is taken from the cache.

The first start of a function counts, so the package holds what that reads and nothing else: bytecode beside each
source, since /var/task can't be written to and Python would compile everything again at each start; of the dependencies
the modules that something may import; of botocore's data the services that we call, without the documentation.
Nothing is patched: another version is another pin.
"""

import ast
import gzip
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from modulefinder import ModuleFinder
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).parent.parent
FUNCTIONS = ROOT / "functions"
REQUIREMENTS = "requirements.txt"
CACHE = ROOT / ".local" / "asset"


def _operations() -> dict[str, list[str]]:
    """Read each gateway's `OPERATIONS`, by service. Sources are parsed: to import them would import boto3."""
    found: dict[str, list[str]] = {}
    for gateway in sorted((FUNCTIONS / "device_lockout" / "aws").glob("*.py")):
        for statement in ast.parse(gateway.read_bytes()).body:
            match statement:
                case ast.Assign(targets=[ast.Name("OPERATIONS")], value=value):
                    for name in ast.literal_eval(value):
                        service, operation = name.split(":")
                        found.setdefault(service, []).append(operation)
    return found


OPERATIONS = _operations()
"""What the functions call. The rest of botocore's models is most of its size, and of what a client reads first."""

PYTHON = "3.13"
"""The runtime's version, which must build the package too: bytecode is one version's."""

Entries = dict[str, bytes]
"""Files of the package, by their name in the zip."""

_DATA = "botocore/data/"

_LEFT_OUT = re.compile(
    r"""
      (^|/)__pycache__/ | \.pyc$                          # bytecode of another path and date
    | (^|/)tests?/ | (^|/)examples?/                      # never imported
    | \.pyi$ | (^|/)py\.typed$
    | ^bin/                                               # command lines
    | \.dist-info/(?!METADATA$)                           # importlib.metadata and scanners for flaws read METADATA
    | ^botocore/data/(?!(endpoints|partitions|_retry|sdk-default-configuration)\.json$|(SERVICES)/)
    | ^aws_lambda_powertools/event_handler/               # its Logger asks it for pydantic models only: we have none
    | ^dateutil/zoneinfo/.*\.gz$                          # time zones by name, which nothing here has
    | ^botocore/data/.*/(examples|paginators|waiters)-    # unused: WorkMail has none, nothing else is paged or awaited
    """.replace("SERVICES", "|".join(OPERATIONS)),
    re.VERBOSE,
)


class BundlingError(Exception):
    """The package can't be built; the message says what pip said, or which file may not be in it."""


def package(settings: dict[str, Any]) -> Path:
    """The zip for these settings, built unless it is in the cache."""
    if sys.version_info[:2] != tuple(map(int, PYTHON.split("."))):
        raise BundlingError(f"this is Python {sys.version.split()[0]}: expected {PYTHON}, as in Lambda")
    own = {**sources(), "settings.json": json.dumps(settings, indent=1, sort_keys=True).encode()}
    requirements = (FUNCTIONS / REQUIREMENTS).read_bytes()
    recipe = Path(__file__).read_bytes() + sys.version.encode()
    archive = CACHE / f"{_digest(recipe, requirements, *_flat(own))}.zip"
    if not archive.exists():
        others = dependencies(installed())
        used = {name: others[name] for name in _reachable(own, others)}
        _write(archive, {**used, **_bytecode_once(used), **own, **bytecode(own)})
    return archive


def sources() -> Entries:
    """What is ours: everything in functions/ that git would keep, but for the list of requirements."""
    return {
        name: content
        for name, content in _files(FUNCTIONS)
        if name != REQUIREMENTS and not name.startswith(".") and not _LEFT_OUT.search(name)
    }


def installed() -> Path:
    """Where the dependencies are as pip installs them, once for each list of requirements."""
    target = CACHE / f"dependencies-{_digest((FUNCTIONS / REQUIREMENTS).read_bytes())}"
    if not target.exists():
        _install(target)
    return target


def dependencies(installed: Path) -> Entries:
    """What we may need of what is installed there; BundlingError if some of it is not pure Python."""
    entries = {name: content for name, content in _files(installed) if not _LEFT_OUT.search(name)}
    compiled = [name for name in entries if name.endswith((".so", ".pyd", ".dll", ".dylib"))]
    if compiled:
        raise BundlingError(
            f"{compiled[0]}: expected pure Python only, so that one package fits Lambda's processor and this machine's"
        )
    data = {name: content for name, content in entries.items() if name.startswith(_DATA)}
    return {name: content for name, content in entries.items() if name not in data} | _lean(data)


def _lean(data: Entries) -> Entries:
    """Data of botocore for what we call alone: the newest version of each, without documentation, uncompressed."""
    newest: dict[tuple[str, str], str] = {}
    lean: Entries = {}
    for name in sorted(data):
        service, version, file = name.removeprefix(_DATA).split("/") if name.count("/") == 4 else ("", "", name)
        newest[service, file] = name
        del version
    for (service, file), name in newest.items():
        content = data[name]
        document = json.loads(gzip.decompress(content) if name.endswith(".gz") else content)
        if name == f"{_DATA}endpoints.json":
            for partition in document["partitions"]:
                services = partition["services"]
                partition["services"] = {each: services[each] for each in OPERATIONS if each in services}
        if file.removesuffix(".gz") == "service-2.json":
            document = _with_operations(document, OPERATIONS[service])
        lean[name.removesuffix(".gz")] = json.dumps(_undocumented(document), separators=(",", ":")).encode()
    return lean


def _with_operations(model: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """A service's model with these operations and the shapes that they reach."""
    operations = {name: model["operations"][name] for name in names}
    shapes: dict[str, Any] = {}

    def reach(part: Any) -> None:
        if isinstance(part, dict):
            name = part.get("shape")
            if isinstance(name, str) and name not in shapes:
                shapes[name] = model["shapes"][name]
                reach(shapes[name])
            part = [*part.values()]
        if isinstance(part, list):
            for each in part:
                reach(each)

    reach(operations)
    return {**model, "operations": operations, "shapes": shapes}


def _undocumented(document: Any) -> Any:
    if isinstance(document, dict):
        return {
            key: _undocumented(value)
            for key, value in document.items()
            if key != "documentation" or not isinstance(value, str)
        }
    return [_undocumented(each) for each in document] if isinstance(document, list) else document


def _reachable(own: Entries, others: Entries) -> list[str]:
    """Which of the others' files are data, or modules that an import statement reaches from one of our handlers."""
    with tempfile.TemporaryDirectory() as directory:
        unpacked = Path(directory).resolve()
        sources = {name: content for name, content in {**own, **others}.items() if name.endswith(".py")}
        unpack({name: _as_run(content) for name, content in sources.items()}, unpacked)
        finder = ModuleFinder(path=[str(unpacked)])
        for handler in sorted(unpacked.glob("*.py")):
            if handler.name in own:
                finder.load_file(str(handler))
        files = (getattr(module, "__file__", None) for module in finder.modules.values())
        found = {Path(file).relative_to(unpacked).as_posix() for file in files if file}
    return [name for name in others if not name.endswith(".py") or name in found]


def _as_run(source: bytes) -> bytes:
    """`source` without the imports that only type checkers see."""
    if b"TYPE_CHECKING" not in source:
        return source
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            node.body = [ast.Pass()]
    return ast.unparse(tree).encode()


def bytecode(entries: Entries) -> Entries:
    """The bytecode of every source among the entries, never compared with it: the package is whole or not at all.

    https://docs.python.org/3.13/reference/import.html#cached-bytecode-invalidation
    Compiled in a process of its own, in order, so that nothing that this process did before can show in it.
    """
    with tempfile.TemporaryDirectory() as directory:
        unpacked = Path(directory).resolve()
        unpack({name: content for name, content in entries.items() if name.endswith(".py")}, unpacked)
        compiling = subprocess.run(
            [
                *(sys.executable, "-I", "-S", "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash"),
                *("-s", unpacked, "-p", "/var/task", unpacked),
            ],
            env={"PYTHONHASHSEED": "0"},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if compiling.returncode:
            raise BundlingError(f"the package's sources could not be compiled:\n{compiling.stdout}")
        return {name: content for name, content in _files(unpacked) if name.endswith(".pyc")}


def _bytecode_once(entries: Entries) -> Entries:
    """The same from the cache: what others wrote is the same from one build to the next."""
    archive = CACHE / f"bytecode-{_digest(sys.version.encode(), *_flat(entries))}.zip"
    if not archive.exists():
        _write(archive, bytecode(entries))
    with zipfile.ZipFile(archive) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def unpack(entries: Entries, directory: Path) -> None:
    """Write the entries as files below a directory, as Lambda does."""
    for name, content in entries.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


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
