"""What can go wrong, told apart by what the caller does about it.

LockoutError
├── SettingsError          the deployment is wrong: nothing runs until it is mended
├── RejectedError          this request can never succeed: an outcome says why, nothing is retried
│   ├── UnknownUserError   WorkMail knows no such user (any more)
│   └── RefusedError       WorkMail will not change this override in the state its user or organization is in
├── TransientError         it did not happen: the same request may succeed later
│   └── NotTriedError      it was not even begun: the same request may succeed at once
└── UnansweredError        nobody knows whether it happened: wait until it can no longer take effect, then read again
"""


class LockoutError(Exception):
    """Base of every error that this package raises on purpose."""


class SettingsError(LockoutError):
    """The environment or the packaged settings are missing something; the message says what and where."""


class RejectedError(LockoutError):
    """The request is permanently impossible; the message is written for the person who made it."""


class UnknownUserError(RejectedError):
    """WorkMail has no user of that name or ID in the organization."""


class RefusedError(RejectedError):
    """WorkMail refuses to write because of the state of the user or the organization."""


class TransientError(LockoutError):
    """The call had no effect and may be repeated: throttled, unavailable, denied, or overtaken in the ledger."""


class NotTriedError(TransientError):
    """There was no time left to call: others were slow, or WorkMail takes no more; it was not this request."""


class UnansweredError(LockoutError):
    """A write got no usable answer (time-out, broken connection, 5xx): it may have happened, or may yet happen."""
