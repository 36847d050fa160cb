"""The operators' command line: `python -m lockout`, from the root of the repository.

It may use both `infra` (the deployments' configurations) and `functions` (how they are understood), which may not use
each other.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
if str(ROOT / "functions") not in sys.path:
    sys.path.insert(0, str(ROOT / "functions"))
