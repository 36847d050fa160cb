"""Draw the pictures of the documentation: ``make picture`` and ``make recording``.

It runs in `.local/pictures`, an environment of its own with D2 and rich.
"""

import hashlib
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

COLUMNS = 100
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SHOWN = ("bob's phone is reported", "ana's computer, allowed", "The lock with the short life")
"""How the titles of the recorded sections begin. Three dots stand for the others."""


def overview() -> None:
    """Draw overview.svg with D2; a test compares the digest in it with that of its source."""
    source, target = HERE / "overview.d2", HERE / "overview.svg"
    d2 = Path(sys.executable).parent / "d2"
    drawn = subprocess.run([d2, source, "-"], stdout=subprocess.PIPE, check=True, text=True).stdout
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    target.write_text(drawn.replace("<svg ", f'<svg data-source-sha256="{digest}" ', 1), encoding="utf-8")


def demo() -> None:
    """Run ``make demo`` in a terminal and write its output to demo.svg; exit with its status if it fails."""
    output = bytearray()

    def read(terminal: int) -> bytes:
        data = os.read(terminal, 1 << 16)
        output.extend(data)
        return data

    status = os.waitstatus_to_exitcode(pty.spawn(["make", "demo"], read))
    if status:
        sys.exit(status)
    (HERE / "demo.svg").write_text(svg(excerpt(output.decode())), encoding="utf-8")


def excerpt(output: str) -> str:
    """Return the start, the sections in :data:`SHOWN` and the last line; paths are relative to the repository."""
    blocks = output.replace("\r\n", "\n").replace(f"{ROOT}/", "").strip("\n").split("\n\n")
    kept = ["$ make demo\n" + blocks[0]]
    found = 0
    for block in blocks[1:]:
        title = Text.from_ansi(block).plain
        bold = block.startswith("\033[1m")
        if bold and not title.startswith(SHOWN):
            kept += ["..."] * (kept[-1] != "...")
            continue
        found += bold
        kept.append(block)
    if found != len(SHOWN):
        sys.exit(f"{found} of the sections {SHOWN} are in the output")
    return "\n\n".join(kept)


def svg(output: str) -> str:
    """Return the picture of a terminal with this output; it uses the reader's own fonts."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in output.split("\n"):
        text = Text.from_ansi(line)
        indent = len(text.plain) - len(text.plain.lstrip())
        console.print(Padding(text[indent:], (0, 0, 0, indent)), highlight=False)
    drawn = console.export_svg(title="make demo", unique_id="demo")
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    return drawn.replace("Fira Code, monospace", FONTS)


if __name__ == "__main__":
    {"overview": overview, "demo": demo}[sys.argv[1]]()
