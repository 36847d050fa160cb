"""The errors: `WorkMailError` of the API, and `ControlError` of the emulator's controls."""

from collections.abc import Sequence


class WorkMailError(Exception):
    """An error of the API with AWS's error code. Errors in the service model have status 400."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class ControlError(Exception):
    """A control refused a request and changed nothing.

    `problems` has one line for each mistake: the key or row, its value and what was expected.
    """

    def __init__(self, message: str, problems: Sequence[str] = (), status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)
        self.status = status
