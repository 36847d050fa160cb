import importlib.util
import json
import marshal
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from botocore.model import ServiceModel

import app
from bench import cold_start
from config_reader import loader
from device_lockout.values.settings import load
from infra import bundling
from infra.bundling import BundlingError
from tests.infra.conftest import ROOT, read_template

pytestmark = pytest.mark.slow

SETTINGS = loader.load("local").settings


@pytest.fixture(scope="module")
def package() -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(bundling.package(SETTINGS)) as opened:
        yield opened


@pytest.fixture
def elsewhere(package: zipfile.ZipFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of our sources in another place. Its cache has the dependencies and nothing else."""
    monkeypatch.setattr(bundling, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(bundling, "FUNCTIONS", tmp_path / "functions")
    (tmp_path / "cache").mkdir()
    for directory in (ROOT / ".local" / "asset").glob("dependencies-*"):
        (tmp_path / "cache" / directory.name).symlink_to(directory)
    for path in sorted((ROOT / "functions").rglob("*"), reverse=True):
        if path.is_file():
            copy = tmp_path / "functions" / path.relative_to(ROOT / "functions")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            os.utime(copy, (1, 1))
            copy.chmod(0o600)
    return tmp_path / "functions"


def test_the_package_has_our_sources_and_settings_at_its_root(package: zipfile.ZipFile) -> None:
    names = set(package.namelist())
    ours = {
        path.relative_to(ROOT / "functions").as_posix()
        for path in (ROOT / "functions").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours - {"requirements.txt"} <= names
    assert "requirements.txt" not in names
    assert load(package.read("settings.json").decode()) == SETTINGS


def test_the_package_is_pure_python_without_unused_files(package: zipfile.ZipFile) -> None:
    unwanted = re.compile(r"\.(so|pyd|dll|dylib|pyi|gz)$|(^|/)tests?/|(^|/)bin/|/RECORD$|/event_handler/")
    assert [name for name in package.namelist() if unwanted.search(name)] == []


def test_the_package_has_the_models_of_the_services_that_we_call_and_no_others(package: zipfile.ZipFile) -> None:
    inside = {match[1] for name in package.namelist() if (match := re.match(r"botocore/data/([^/]+)/", name))}
    assert inside == set(bundling.OPERATIONS) == {"dynamodb", "events", "secretsmanager", "sqs", "workmail"}


def test_a_model_has_the_operations_that_we_call_and_the_shapes_that_they_reach(package: zipfile.ZipFile) -> None:
    for name in package.namelist():
        if name.endswith("/service-2.json"):
            service = ServiceModel(model := json.loads(package.read(name)))
            assert set(service.operation_names) == set(bundling.OPERATIONS[name.split("/")[2]])
            reached: set[str] = set()
            due = [
                shape
                for operation in map(service.operation_model, service.operation_names)
                for shape in (operation.input_shape, operation.output_shape, *operation.error_shapes)
                if shape is not None
            ]
            while due:
                if (shape := due.pop()).name not in reached:
                    reached.add(shape.name)
                    parts = (getattr(shape, part, None) for part in ("member", "key", "value"))
                    due += [*getattr(shape, "members", {}).values(), *(part for part in parts if part is not None)]
            assert reached == set(model["shapes"])


def test_the_package_stays_small(package: zipfile.ZipFile) -> None:
    assert Path(str(package.filename)).stat().st_size < 3_000_000


def test_files_are_sorted_and_have_one_date_and_one_mode(package: zipfile.ZipFile) -> None:
    entries = package.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}


def test_every_source_has_the_runtimes_bytecode_and_is_never_compared_with_it(package: zipfile.ZipFile) -> None:
    sources = {PurePosixPath(name) for name in package.namelist() if name.endswith(".py")}
    compiled = {PurePosixPath(name) for name in package.namelist() if name.endswith(".pyc")}
    assert compiled == {source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc" for source in sources}
    for name in map(str, compiled):
        header = package.read(name)[:8]
        assert header == importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")  # hash-based, unchecked
    decision = marshal.loads(package.read("device_lockout/decisions/__pycache__/decision.cpython-313.pyc")[16:])
    assert decision.co_filename == "/var/task/device_lockout/decisions/decision.py"


def test_botocores_models_are_the_newest_and_have_no_documentation(package: zipfile.ZipFile) -> None:
    models = [name for name in package.namelist() if name.endswith("service-2.json")]
    assert len(models) == 5
    assert "botocore/data/dynamodb/2012-08-10/service-2.json" in models
    model = json.loads(package.read("botocore/data/workmail/2017-10-01/service-2.json"))
    assert "documentation" not in model["operations"]["PutMobileDeviceAccessOverride"]
    assert model["shapes"]["PutMobileDeviceAccessOverrideRequest"]["required"]
    endpoints = json.loads(package.read("botocore/data/endpoints.json"))
    assert {name for partition in endpoints["partitions"] for name in partition["services"]} == set(bundling.OPERATIONS)


@pytest.fixture(scope="module")
def unpacked(package: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("unpacked")
    package.extractall(directory)
    return directory


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    with cold_start.loopback_aws() as url:
        yield url


@pytest.mark.parametrize("function", cold_start.FUNCTIONS)
def test_a_function_works_with_nothing_but_the_package(function: str, unpacked: Path, aws: str) -> None:
    code = """
import importlib, json, os, sys
sys.path[:] = [sys.argv[1], *(path for path in sys.path if "site-packages" not in path)]
class Context:
    aws_request_id = function_name = invoked_function_arn = "test"
    memory_limit_in_mb = 512
    def get_remaining_time_in_millis(self): return 900_000
answer = importlib.import_module(sys.argv[2]).handler(json.loads(sys.argv[3]), Context())
assert answer.get("completed") or answer["batchItemFailures"] == [], answer
theirs = {name: getattr(module, "__cached__", None) for name, module in sys.modules.items()
          if (getattr(module, "__file__", None) or "").startswith(sys.argv[1])}
assert len(theirs) > 100 and all(map(os.path.exists, theirs.values())), theirs
foreign = {m.__file__ for m in sys.modules.values() if "site-packages" in (getattr(m, "__file__", None) or "")}
assert not foreign, foreign
"""
    first = cold_start.first_event(function, 1)
    if function != "sweep_overrides":  # two devices, so that threads start as well
        first["Records"] += cold_start.first_event(function, 2)["Records"]
    run = subprocess.run(
        [sys.executable, "-S", "-c", code, str(unpacked), function, json.dumps(first)],
        env={**cold_start.environment(aws), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_same_inputs_in_another_place_with_other_dates_and_modes_give_the_same_bytes(
    elsewhere: Path, package: zipfile.ZipFile
) -> None:
    here, there = Path(str(package.filename)), bundling.package(SETTINGS)
    assert there != here
    assert there.name == here.name
    assert there.read_bytes() == here.read_bytes()


def test_the_fingerprint_is_of_the_contents_and_not_of_the_zip(package: zipfile.ZipFile, tmp_path: Path) -> None:
    """Another machine's zlib gives other bytes, and another Python 3.13 other bytecode."""
    here, there, other = Path(str(package.filename)), tmp_path / "there.zip", tmp_path / "other.zip"
    for archive, change in ((there, b""), (other, b"# changed\n")):
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:
            for name in reversed(package.namelist()):
                content = package.read(name) + (b"bytecode" if name.endswith(".pyc") else b"")
                zipped.writestr(name, content + change if name == "route_events.py" else content)
    assert there.read_bytes() != here.read_bytes()
    assert bundling.fingerprint(there) == bundling.fingerprint(here) != bundling.fingerprint(other)


def test_the_assembly_has_the_fingerprint_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDK_VALIDATION", "false")
    keys = []
    for number in (1, 9):
        archive = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("route_events.py", "pass\n" * 999, zipfile.ZIP_DEFLATED, compresslevel=number)
        app.synthesize(loader.load("example"), archive, tmp_path / f"out{number}")
        keys.append(re.findall(r'"S3Key": "([0-9a-f]+)', read_template(tmp_path / f"out{number}").text))
    assert (tmp_path / "1.zip").read_bytes() != (tmp_path / "9.zip").read_bytes()
    assert keys[0] == keys[1] != []


def test_the_package_has_the_licence_of_everything_in_it(package: zipfile.ZipFile) -> None:
    names = package.namelist()
    distributions = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert len(distributions) == len(re.findall(r"(?m)^\S+==", (ROOT / "functions" / "requirements.txt").read_text()))
    licence = re.compile(r"LICEN[CS]E|COPYING")
    without = [each for each in distributions if not any(n.startswith(each) and licence.search(n) for n in names)]
    assert without == []
    assert package.read("LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_the_bill_of_materials_lists_what_is_in_the_package(package: zipfile.ZipFile) -> None:
    subprocess.run(["make", "-s", "sbom"], cwd=ROOT, check=True)
    bill = json.loads((ROOT / "cdk.out" / "sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    listed = {f"{each['name'].replace('-', '_')}-{each['version']}".lower() for each in bill["components"]}
    inside = {name.partition(".dist-info/")[0].lower() for name in package.namelist() if ".dist-info/" in name}
    assert listed == {name.replace("-", "_", name.count("-") - 1) for name in inside}
    assert all(each["externalReferences"][0]["hashes"] for each in bill["components"])


def test_another_setting_or_source_gives_another_package(elsewhere: Path, package: zipfile.ZipFile) -> None:
    for archive in (ROOT / ".local" / "asset").glob("bytecode-*"):
        (bundling.CACHE / archive.name).symlink_to(archive)
    first = Path(str(package.filename))
    second = bundling.package(replace(SETTINGS, owner="other"))
    source = (elsewhere / "route_events.py").read_bytes() + b"# changed\n"
    (elsewhere / "route_events.py").write_bytes(source)
    third = bundling.package(SETTINGS)
    assert len({first.name, second.name, third.name}) == 3
    assert json.loads(zipfile.ZipFile(second).read("settings.json"))["owner"] == "other"
    assert zipfile.ZipFile(third).read("route_events.py") == source


def test_the_same_package_is_not_built_again(package: zipfile.ZipFile) -> None:
    archive = Path(str(package.filename))
    before = archive.stat().st_mtime_ns
    assert bundling.package(SETTINGS) == archive
    assert archive.stat().st_mtime_ns == before


def test_requirements_that_pip_can_not_install_are_reported_with_its_output(elsewhere: Path) -> None:
    (elsewhere / "requirements.txt").write_text("six==1.17.0\n")
    with pytest.raises(BundlingError, match=r"functions/requirements.txt could not .*\n(.*\n)*.*--hash"):
        bundling.package(SETTINGS)
    assert [path.name for path in bundling.CACHE.iterdir() if "unfinished" in path.name] == []


def test_a_compiled_dependency_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fast.cpython-313-x86_64-linux-gnu.so").write_bytes(b"")
    with pytest.raises(BundlingError, match=r"fast\..*\.so: expected pure Python only"):
        bundling.dependencies(tmp_path)
