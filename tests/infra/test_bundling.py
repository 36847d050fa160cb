import importlib.util
import json
import marshal
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from botocore.model import ServiceModel

from bench import cold_start
from configuration import loader
from infra import bundling
from infra.bundling import BundlingError
from tests.infra.conftest import ROOT

pytestmark = pytest.mark.slow

SETTINGS = loader.load("local", ROOT / "config").settings()


@pytest.fixture(scope="module")
def package() -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(bundling.package(SETTINGS)) as opened:
        yield opened


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Our sources copied to another place, with a cache of its own that has the dependencies already."""
    bundling.package(SETTINGS)
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
    assert json.loads(package.read("settings.json")) == SETTINGS


def test_the_package_is_pure_python_and_has_nothing_that_is_never_used(package: zipfile.ZipFile) -> None:
    unwanted = re.compile(r"\.(so|pyd|dll|dylib|pyi|gz)$|(^|/)tests?/|(^|/)bin/|/RECORD$|/event_handler/")
    assert [name for name in package.namelist() if unwanted.search(name)] == []


def test_the_package_has_the_models_of_the_services_that_we_call_and_no_others(package: zipfile.ZipFile) -> None:
    inside = {match[1] for name in package.namelist() if (match := re.match(r"botocore/data/([^/]+)/", name))}
    assert inside == set(bundling.OPERATIONS) == {"dynamodb", "events", "secretsmanager", "sqs", "workmail"}


def test_a_model_has_the_operations_that_we_call_and_every_shape_that_they_reach(package: zipfile.ZipFile) -> None:
    for name in package.namelist():
        if name.endswith("/service-2.json"):
            service = ServiceModel(model := json.loads(package.read(name)))
            assert set(service.operation_names) == set(bundling.OPERATIONS[name.split("/")[2]])
            reached: set[str] = set()
            due = [
                shape
                for each in map(service.operation_model, service.operation_names)
                for shape in (each.input_shape, each.output_shape, *each.error_shapes)
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


def test_every_file_has_the_same_date_and_mode_and_they_are_sorted(package: zipfile.ZipFile) -> None:
    entries = package.infolist()
    assert [each.filename for each in entries] == sorted(each.filename for each in entries)
    assert {each.date_time for each in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {each.external_attr >> 16 for each in entries} == {0o100644}


def test_every_source_has_its_bytecode_of_the_runtime_that_is_never_compared_with_it(package: zipfile.ZipFile) -> None:
    sources = {PurePosixPath(name) for name in package.namelist() if name.endswith(".py")}
    compiled = {PurePosixPath(name) for name in package.namelist() if name.endswith(".pyc")}
    assert compiled == {source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc" for source in sources}
    for name in map(str, compiled):
        header = package.read(name)[:8]
        assert header == importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")  # hash-based, unchecked
    decision = marshal.loads(package.read("device_lockout/decisions/__pycache__/decision.cpython-313.pyc")[16:])
    assert decision.co_filename == "/var/task/device_lockout/decisions/decision.py"


def test_data_of_botocore_has_the_newest_version_of_each_model_without_its_documentation(
    package: zipfile.ZipFile,
) -> None:
    models = [name for name in package.namelist() if name.endswith("service-2.json")]
    assert len(models) == 5
    assert "botocore/data/dynamodb/2012-08-10/service-2.json" in models
    model = json.loads(package.read("botocore/data/workmail/2017-10-01/service-2.json"))
    assert "documentation" not in model["operations"]["PutMobileDeviceAccessOverride"]
    assert model["shapes"]["PutMobileDeviceAccessOverrideRequest"]["required"]
    endpoints = json.loads(package.read("botocore/data/endpoints.json"))
    assert {name for partition in endpoints["partitions"] for name in partition["services"]} == set(bundling.OPERATIONS)


@pytest.mark.parametrize("function", cold_start.FUNCTIONS)
def test_a_function_does_its_work_from_the_package_alone(
    function: str, package: zipfile.ZipFile, tmp_path: Path
) -> None:
    package.extractall(tmp_path)
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
    with cold_start.loopback_aws() as url:
        run = subprocess.run(
            [sys.executable, "-S", "-c", code, str(tmp_path), function, json.dumps(first)],
            env={**cold_start.environment(url), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_same_inputs_in_another_place_with_other_dates_and_modes_give_the_same_bytes(elsewhere: Path) -> None:
    here = (ROOT / ".local" / "asset").glob("*.zip")
    there = bundling.package(SETTINGS)
    assert there.read_bytes() in [each.read_bytes() for each in here]


def test_another_setting_or_source_gives_another_package(elsewhere: Path) -> None:
    first = bundling.package(SETTINGS)
    second = bundling.package({**SETTINGS, "owner": "other"})
    (elsewhere / "route_events.py").write_text("handler = None\n")
    third = bundling.package(SETTINGS)
    assert len({first, second, third}) == 3
    assert zipfile.ZipFile(third).read("route_events.py") == b"handler = None\n"


def test_what_was_packaged_before_is_not_packaged_again(elsewhere: Path) -> None:
    archive = bundling.package(SETTINGS)
    before = archive.stat().st_mtime_ns
    assert bundling.package(SETTINGS) == archive
    assert archive.stat().st_mtime_ns == before


def test_requirements_that_can_not_be_installed_are_reported_with_what_pip_says(elsewhere: Path) -> None:
    (elsewhere / "requirements.txt").write_text("six==1.17.0\n")
    with pytest.raises(BundlingError, match=r"functions/requirements.txt could not .*\n(.*\n)*.*--hash"):
        bundling.package(SETTINGS)
    assert [path.name for path in bundling.CACHE.iterdir() if "unfinished" in path.name] == []


def test_a_compiled_dependency_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fast.cpython-313-x86_64-linux-gnu.so").write_bytes(b"")
    with pytest.raises(BundlingError, match=r"fast\..*\.so: expected pure Python only"):
        bundling.dependencies(tmp_path)
