"""Look for known vulnerabilities in lists of requirements with pip-audit, or say in one line why that can't be done."""

import subprocess
import sys
from itertools import chain


def main() -> int:
    """Return 0 if no list has a vulnerability, 1 if one has, and 2 if nobody knows."""
    lists = chain.from_iterable(("--requirement", each) for each in sys.argv[1:])
    audit = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip_audit",
            "--strict",
            "--require-hashes",
            "--disable-pip",
            "--progress-spinner=off",
            *lists,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    said = audit.stderr.strip().splitlines() or [""]
    if audit.returncode and not audit.stdout.strip():
        print(f"the audit failed, since PyPI's advisories can't be read: {said[-1]}", file=sys.stderr)
        return 2
    print("\n".join(filter(None, (audit.stdout.rstrip(), said[-1]))))
    return audit.returncode


if __name__ == "__main__":
    sys.exit(main())
