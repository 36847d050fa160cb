"""The zip that every function runs from: our sources, the pinned dependencies and the settings.

Plain pip builds it, without Docker. The same inputs give the same :func:`fingerprint` on every machine, so an unchanged
package is not deployed again. With the same interpreter and zlib the bytes are the same, too.

A function's first start counts, so the package has only what a start reads:

- Bytecode beside each source. Lambda can't write to /var/task, so Python would compile everything at each start.
- The modules of the dependencies that an import statement reaches.
- botocore's data for the services that we call, without documentation.

Nothing is patched. A new version of a dependency is a new pin.
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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from modulefinder import ModuleFinder
from pathlib import Path, PurePosixPath
from typing import Any

from device_lockout.values.settings import Settings, dump

ROOT = Path(__file__).parent.parent
FUNCTIONS = ROOT / "functions"
REQUIREMENTS = "requirements.txt"
CACHE = ROOT / ".local" / "asset"


def _operations() -> dict[str, list[str]]:
    """Read each gateway's `OPERATIONS`, by service. Sources are parsed: to import them would import boto3."""
    found: dict[str, list[str]] = {}
    for gateway in sorted((FUNCTIONS / "device_lockout" / "aws").glob("*.py")):
        declared = re.search(r"^OPERATIONS = (\(.*?\))$", gateway.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for name in ast.literal_eval(declared[1]) if declared else ():
            service, operation = name.split(":")
            found.setdefault(service, []).append(operation)
    return found


OPERATIONS = _operations()
"""The operations that the functions call, by service.

The package drops the others from botocore's models. They are most of its size, and slow down a client's start.
"""

PYTHON = "3.13"  # The runtime's version. It must also build the package, since bytecode belongs to one version.

Entries = dict[str, bytes]  # The contents of files, by their names in the zip.

_DATA = "botocore/data/"

_EXCLUDED = re.compile(
    r"""
      (^|/)__pycache__/ | \.pyc$                          # pip's bytecode has other paths and dates
    | (^|/)tests?/ | (^|/)examples?/                      # never imported
    | \.pyi$ | (^|/)py\.typed$
    | ^bin/                                               # command lines
    | \.dist-info/(?!METADATA$|(.*/)?(LICEN[CS]E|NOTICE|COPYING|THIRD)[^/]*$)   # what scanners and lawyers read
    | ^botocore/data/(?!(endpoints|partitions|_retry|sdk-default-configuration)\.json$|(SERVICES)/)
    | ^aws_lambda_powertools/event_handler/               # the Logger needs it for pydantic models only
    | ^dateutil/zoneinfo/.*\.gz$                          # named time zones, which we don't use
    | ^botocore/data/.*/(examples|paginators|waiters)-    # unused: no call is paged by botocore or waited for
    """.replace("SERVICES", "|".join(OPERATIONS)),
    re.VERBOSE,
)


class BundlingError(Exception):
    """The package can't be built. The message has pip's output, or the file that can't be packaged."""


def package(settings: Settings) -> Path:
    """Return the zip for these settings. Build it unless the cache has it.

    Raises:
        BundlingError: This is not the runtime's Python, or a dependency can't be packaged.
    """
    if sys.version_info[:2] != tuple(map(int, PYTHON.split("."))):
        raise BundlingError(f"this is Python {sys.version.split()[0]}: expected {PYTHON}, as in Lambda")
    own = {**sources(), "settings.json": dump(settings).encode(), "LICENSE": (ROOT / "LICENSE").read_bytes()}
    requirements = (FUNCTIONS / REQUIREMENTS).read_bytes()
    recipe = Path(__file__).read_bytes() + sys.version.encode()
    archive = CACHE / f"{_digest(recipe, requirements, *_flat(own))}.zip"
    if not archive.exists():
        others = dependencies(installed())
        used = {name: others[name] for name in _reachable(own, others)}
        _write(archive, {**used, **_cached_bytecode(used), **own, **bytecode(own)})
    return archive


def fingerprint(archive: Path) -> str:
    """Return the digest of what a package holds. Its bytes depend on the machine's zlib, and bytecode on its Python."""
    with zipfile.ZipFile(archive) as zipped:
        names = [name for name in zipped.namelist() if not name.endswith(".pyc")]
        return _digest(Path(__file__).read_bytes(), *_flat({name: zipped.read(name) for name in names}))


def sources() -> Entries:
    """Return our own files: all of functions/ but hidden files, bytecode and the list of requirements."""
    return {
        name: content
        for name, content in _files(FUNCTIONS)
        if name != REQUIREMENTS and not name.startswith(".") and not _EXCLUDED.search(name)
    }


def installed() -> Path:
    """Return the directory of the dependencies. Install them there unless these requirements already are."""
    target = CACHE / f"dependencies-{_digest((FUNCTIONS / REQUIREMENTS).read_bytes())}"
    if not target.exists():
        _install(target)
    return target


def dependencies(installed: Path) -> Entries:
    """Return the installed files that the package may need.

    Raises:
        BundlingError: Some of them are not pure Python.
    """
    entries = {name: content for name, content in _files(installed) if not _EXCLUDED.search(name)}
    compiled = [name for name in entries if name.endswith((".so", ".pyd", ".dll", ".dylib"))]
    if compiled:
        raise BundlingError(
            f"{compiled[0]}: expected pure Python only, so that one package fits Lambda's processor and this machine's"
        )
    data = {name: content for name, content in entries.items() if name.startswith(_DATA)}
    return {name: content for name, content in entries.items() if name not in data} | _pruned(data)


def _pruned(data: Entries) -> Entries:
    """Reduce botocore's data to the newest models of what we call, uncompressed and without documentation."""
    newest = {re.sub(r"/\d{4}-\d\d-\d\d/", "/", name): name for name in sorted(data)}
    pruned: Entries = {}
    for unversioned, name in newest.items():
        content = gzip.decompress(data[name]) if name.endswith(".gz") else data[name]
        document = json.loads(content, object_pairs_hook=_undocumented)
        if name == f"{_DATA}endpoints.json":
            for partition in document["partitions"]:
                services = partition["services"]
                partition["services"] = {key: services[key] for key in OPERATIONS if key in services}
        service, _, file = unversioned.removeprefix(_DATA).partition("/")
        if file.removesuffix(".gz") == "service-2.json":
            document = _with_operations(document, OPERATIONS[service])
        pruned[name.removesuffix(".gz")] = json.dumps(document, separators=(",", ":")).encode()
    return pruned


def _undocumented(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if key != "documentation" or not isinstance(value, str)}


def _with_operations(model: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Reduce a service's model to these operations and the shapes that they reach."""
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
            for element in part:
                reach(element)

    reach(operations)
    return {**model, "operations": operations, "shapes": shapes}


def _reachable(own: Entries, others: Entries) -> list[str]:
    """Name the files of others that are data, or modules that an import statement of a handler reaches."""
    with tempfile.TemporaryDirectory() as directory:
        unpacked = Path(directory).resolve()
        sources = {name: content for name, content in {**own, **others}.items() if name.endswith(".py")}
        unpack({name: _imports(content) for name, content in sources.items()}, unpacked)
        finder = ModuleFinder(path=[str(unpacked)])
        for handler in sorted(unpacked.glob("*.py")):
            if handler.name in own:
                finder.load_file(str(handler))
        files = (getattr(module, "__file__", None) for module in finder.modules.values())
        found = {Path(file).relative_to(unpacked).as_posix() for file in files if file}
    return [name for name in others if not name.endswith(".py") or name in found]


def _imports(source: bytes) -> bytes:
    """Reduce a module to its import statements, without those for type checkers.

    `ModuleFinder` needs nothing else, and is slower on whole modules.
    """
    imports: list[str] = []

    def collect(node: ast.AST) -> None:
        children: Iterable[ast.AST] = ast.iter_child_nodes(node)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            children = node.orelse
        for child in children:
            if isinstance(child, ast.Import | ast.ImportFrom):
                imports.append(ast.unparse(child))
            elif not isinstance(child, ast.expr):
                collect(child)

    collect(ast.parse(source))
    return "\n".join(imports).encode()


def bytecode(entries: Entries) -> Entries:
    """Compile every source among the entries.

    Python never compares the bytecode with its source, since nobody changes a file in a package.
    https://docs.python.org/3.13/reference/import.html#cached-bytecode-invalidation

    A process of its own compiles in order, so the bytes don't depend on what this process did before.

    Raises:
        BundlingError: A source has a syntax error.
    """
    with tempfile.TemporaryDirectory() as directory:
        unpacked = Path(directory).resolve()
        unpack({name: content for name, content in entries.items() if name.endswith(".py")}, unpacked)
        compileall = ("-I", "-S", "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash")
        places = ("-s", unpacked, "-p", "/var/task", unpacked)
        _python(*compileall, *places, env={"PYTHONHASHSEED": "0"}, what="the package's sources could not be compiled")
        return {name: content for name, content in _files(unpacked) if name.endswith(".pyc")}


def _cached_bytecode(entries: Entries) -> Entries:
    """Return the bytecode from the cache. Dependencies rarely change between builds."""
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
    """Install the pinned dependencies as pure Python wheels. `target` appears whole or not at all."""
    with _unfinished(target) as unfinished:
        _python(
            *("-m", "pip", "--disable-pip-version-check", "install", "-qq"),
            *("--requirement", FUNCTIONS / REQUIREMENTS, "--require-hashes", "--no-deps", "--no-compile"),
            *("--only-binary", ":all:", "--python-version", PYTHON),
            *("--implementation", "py", "--abi", "none", "--platform", "any"),
            *("--target", unfinished),
            what=f"functions/{REQUIREMENTS} could not be installed for the package",
        )


def _python(*arguments: str | Path, what: str, env: Mapping[str, str] | None = None) -> None:
    """Run Python. If it fails, say ``what`` failed, and what it printed."""
    ran = subprocess.run(
        [sys.executable, *arguments], env=env, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if ran.returncode:
        raise BundlingError(f"{what}:\n{ran.stdout}")


def _write(archive: Path, entries: Entries) -> None:
    """Write a zip that depends on its entries alone: they are sorted and have one date and one mode."""
    with _unfinished(archive) as unfinished, zipfile.ZipFile(unfinished, "w") as zipped:
        for name, content in sorted(entries.items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100644 << 16
            zipped.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """Yield a temporary path. It becomes `target` in one step, unless the body raises or `target` exists by then."""
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
    """Return a short digest of the parts. It changes if a byte moves from one part to the next."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8))
        whole.update(part)
    return whole.hexdigest()[:20]
