"""Amazon WorkMail's JSON API in memory, with faults and quirks to switch on.

A request goes through these modules in order:

- `asgi`, or MiniStack, reads HTTP.
- `emulator` answers, with `protocol` for AWS's protocol, `faults` for what goes wrong and `calls` for the record.
- `operations` does what each operation does.
- `organizations` and `overrides` hold the state.

Other modules support these:

- `shapes` checks values against botocore's service model.
- `settings` holds what testers switch.
- `controls` serves `/_emulator/…`.
- `seeding` fills the state.
- `cloudtrail` shapes the events of writes.

The state knows no clock and no network. Tests can call `operations.WorkMail` with a `now` of their own.
"""

from local.workmail.emulator import Emulator

__all__ = ["Emulator"]
