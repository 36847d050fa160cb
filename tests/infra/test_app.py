import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT, read_template


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the app in a process without Node.js, Docker and credentials."""
    return subprocess.run(
        [sys.executable, "app.py", *arguments],
        cwd=ROOT,
        env={"PATH": "/nowhere", "HOME": os.environ.get("HOME", "/"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_unknown_configuration_is_named_with_the_known_ones() -> None:
    for done in (run("--config", "exampel"), run(CDK_CONTEXT_JSON='{"config": "exampel"}')):
        assert done.returncode == 1
        assert done.stderr == (
            "config/exampel.toml: there is no such configuration (did you mean 'example'?); there are: example, local\n"
        )


def test_the_app_says_how_to_choose_a_configuration() -> None:
    done = run()
    assert done.returncode == 1
    assert "expected -c config=NAME or --config NAME; there are: example, local" in done.stderr


@pytest.mark.slow
def test_the_cdk_command_line_gets_a_template_that_passes_cdks_own_check(tmp_path: Path) -> None:
    done = run(CDK_CONTEXT_JSON='{"config": "example"}', CDK_OUTDIR=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert read_template(tmp_path).one("Events::EventBus")["Name"] == "device-security"


def test_the_cdk_command_line_is_pinned_by_its_hash_and_names_no_place_to_fetch_it_from() -> None:
    pinned = json.loads((ROOT / "package.json").read_text())["devDependencies"]
    text = (ROOT / "package-lock.json").read_text()
    locked = json.loads(text)["packages"]
    assert {name.removeprefix("node_modules/"): each["version"] for name, each in locked.items() if name} == pinned
    assert all(each["integrity"].startswith("sha512-") for name, each in locked.items() if name)
    assert "://" not in text
