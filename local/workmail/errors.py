"""What is answered instead of a result: `WorkMailError` by the API, `ControlError` by the emulator's own controls."""

from collections.abc import Sequence


class WorkMailError(Exception):
    """An error answer of the API, carrying AWS's error code; modelled errors have status 400."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class ControlError(Exception):
    """A control was asked for something it refuses; nothing was changed.

    `problems` has one line per fault, each naming the key or row, its value and what was expected.
    """

    def __init__(self, message: str, problems: Sequence[str] = (), status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)
        self.status = status
