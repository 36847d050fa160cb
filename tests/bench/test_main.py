"""The files of `python -m bench`, with parts that measure nothing."""

import json
import sys

import pytest

from bench import __main__ as bench

WHOLE = {"one": 1, "two": 2}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the bench with arguments. `written` reads the file of whole runs and the other one."""
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "bench.json").write_text('{"of": 0}')
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.setattr(bench, "PARTS", {name: lambda scale, name=name: {name: WHOLE[name] / scale} for name in WHOLE})

    def main(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        bench.main()

    def written():
        files = [tmp_path / ".local" / name for name in ("bench.json", "bench-part.json")]
        return [json.loads(file.read_text()) if file.exists() else None for file in files]

    main.written = written
    return main


def test_a_whole_run_has_a_file_of_its_own(run):
    run()
    assert run.written() == [WHOLE, None]


@pytest.mark.parametrize(
    ("arguments", "part"), [(["--quick"], {"one": 0.1, "two": 0.2}), (["--only", "two"], {"two": 2})]
)
def test_less_than_a_whole_run_leaves_that_file_alone(run, arguments, part):
    run(*arguments)
    assert run.written() == [{"of": 0}, part]


def test_what_was_measured_before_a_failure_is_kept(run, monkeypatch):
    monkeypatch.setitem(bench.PARTS, "two", lambda scale: scale / 0)
    with pytest.raises(ZeroDivisionError):
        run()
    assert run.written() == [{"of": 0}, {"one": 1}]
