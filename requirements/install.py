"""Install lists of requirements into the virtual environment that runs this, and report progress.

pip takes the versions and hashes from the lists, and every other setting from the machine.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-compile", "--no-deps")
DOWNLOAD = re.compile(r"Downloading (?P<file>\S+) \((?P<size>\d+)[\d.]* MB\)")
"""What pip says before it fetches a large file."""


def main() -> None:
    """Install the list that the command line names, or this project with ``--project``."""
    environment = os.path.relpath(sys.prefix)
    if sys.argv[1:] == ["--project"]:
        print(f"{environment}: installing this project, so that Python finds its modules", flush=True)
        install("--no-build-isolation", "--editable", ".")
        return
    (requirements,) = map(Path, sys.argv[1:])
    began = time.monotonic()
    count = len(re.findall(r"^[^\s#]+==", requirements.read_text(), re.MULTILINE))
    print(f"{environment}: installing {requirements}, packages: {count}; this takes up to a minute", flush=True)
    install("--require-hashes", "--requirement", str(requirements), into=environment)
    print(f"{environment}: installed in {time.monotonic() - began:.0f} s", flush=True)


def install(*arguments: str, into: str = "") -> None:
    """Run pip and report its large downloads; exit with all of its output if it fails."""
    said = []
    with subprocess.Popen(
        [*PIP, "--progress-bar=off", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            said.append(line)
            if into and (found := DOWNLOAD.search(line)):
                name, version = Path(found["file"]).name.split("-")[:2]
                print(f"{into}: fetching {name} {version}, {found['size']} MB", flush=True)
            elif into and line.startswith("Installing"):
                print(f"{into}: unpacking", flush=True)
    if pip.returncode:
        sys.exit("".join(said))


if __name__ == "__main__":
    main()
