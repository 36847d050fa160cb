"""What can go wrong. Each error says what its catcher may do.

LockoutError
├── SettingsError          the deployment is wrong, and nothing runs until it is mended
├── RejectedError          the request can never succeed: record why, and don't retry
│   ├── UnknownUserError   WorkMail has no such user, or no longer
│   └── RefusedError       the state of the user or organization forbids the write
├── TransientError         nothing happened: retry later
│   └── NotTriedError      nothing was begun: retry at once
└── UnansweredError        nobody knows whether it happened: wait, then read again
"""


class LockoutError(Exception):
    """Base of every error that this package raises on purpose."""


class SettingsError(LockoutError):
    """The environment or the packaged settings lack something. The message says what and where."""


class RejectedError(LockoutError):
    """The request can never succeed. The message is for the person who made it."""


class UnknownUserError(RejectedError):
    """The organization has no user with that name or ID."""


class RefusedError(RejectedError):
    """WorkMail refuses to write, because of the state of the user or the organization."""


class UnreadableError(LockoutError):
    """A message is no command of any release. To deliver it again does not help."""


class TransientError(LockoutError):
    """The call had no effect and may be repeated. It was throttled, denied or overtaken, or the service was down."""


class NotTriedError(TransientError):
    """There was no time for the call. The cause is other work or WorkMail's limit, never this request."""


class UnansweredError(LockoutError):
    """A write got no usable answer: a time-out, a broken connection or a 5xx. It may still take effect."""
