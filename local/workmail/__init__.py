"""Amazon WorkMail's JSON API in memory: overrides and what they stand on, with faults and quirks to switch on.

One request goes through the files in this order.
`asgi` (or MiniStack) → `emulator` (with `protocol`, `faults`, `calls`) → `operations` (what each does)
→ `organizations` and `overrides` (the state).
Beside them: `shapes` checks values against botocore's service model, `settings` holds what testers switch,
`controls` serves `/_emulator/…`, `seeding` fills the state, `cloudtrail` shapes the events of writes.

The state knows no clock and no network: `now` is an argument, so tests can drive `operations.WorkMail` directly.
"""

from local.workmail.emulator import Emulator

__all__ = ["Emulator"]
