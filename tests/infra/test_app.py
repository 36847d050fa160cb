import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT, read_template


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The app in a process of its own, in an environment of almost nothing: no Node.js, Docker or credentials."""
    return subprocess.run(
        [sys.executable, "app.py", *arguments],
        cwd=ROOT,
        env={"PATH": "/nowhere", "HOME": os.environ.get("HOME", "/"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_configuration_that_is_not_there_is_named_with_those_that_are() -> None:
    for done in (run("--config", "exampel"), run(CDK_CONTEXT_JSON='{"config": "exampel"}')):
        assert done.returncode == 1
        assert done.stderr == (
            "config/exampel.toml: there is no such configuration (did you mean 'example'?); there are: example, local\n"
        )


def test_no_configuration_says_how_to_choose_one() -> None:
    done = run()
    assert done.returncode == 1
    assert "expected -c config=NAME or --config NAME; there are: example, local" in done.stderr


@pytest.mark.slow
def test_the_app_needs_no_node_docker_or_credentials_and_obeys_the_cdk_command_line(tmp_path: Path) -> None:
    done = run(CDK_CONTEXT_JSON='{"config": "example"}', CDK_OUTDIR=str(tmp_path), CDK_VALIDATION="false")
    assert done.returncode == 0, done.stderr
    assert read_template(tmp_path).one("Events::EventBus")["Name"] == "device-security"


@pytest.mark.slow
def test_the_template_passes_cdks_own_check(tmp_path: Path) -> None:
    done = run("--config", "example", "--output", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
