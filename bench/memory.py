"""How much memory a process had at most, without what its parent had, which `getrusage` counts."""

import subprocess
from pathlib import Path


def peak_mb(pid: int) -> float:
    """The process's peak so far; where there is no /proc, what it has now."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    shown = subprocess.run(["/bin/ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(shown.stdout) / 1024
