"""What goes wrong, in one line for people: what is wrong, and what to try."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

DONE, NO, USAGE, NOT_YET, NOT_ALLOWED, INTERRUPTED = 0, 1, 2, 3, 4, 130
"""The exit statuses: yes or done; no or not done; called wrongly; not known yet; not allowed; Ctrl-C."""

DENIED = ("AccessDenied", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized")
"""How the codes of refused permission begin."""
_BAD_KEY = ("ExpiredToken", "InvalidClientTokenId", "UnrecognizedClient", "SignatureDoesNotMatch", "InvalidSignature")


class CommandError(Exception):
    """A command can't go on. ``hint`` says what to try; it is empty for nothing."""

    def __init__(self, message: str, hint: str = "", status: int = NO) -> None:
        super().__init__(message)
        self.hint = hint
        self.status = status


def explain(error: BaseException) -> CommandError:
    """Return an error of AWS, of the core or of this machine in words. An error of ours comes back as it is."""
    from botocore import exceptions

    if isinstance(error, CommandError):
        return error
    cause = error.__cause__ if isinstance(error.__cause__, exceptions.ClientError | exceptions.BotoCoreError) else error
    match cause:
        case exceptions.ClientError():
            return _of_answer(cause)
        case exceptions.ProfileNotFound():
            return CommandError(str(cause), "aws configure list-profiles", NOT_ALLOWED)
        case exceptions.NoCredentialsError() | exceptions.PartialCredentialsError():
            return CommandError("there are no AWS credentials here", "aws sso login, or set AWS_PROFILE", NOT_ALLOWED)
        case exceptions.NoRegionError():
            return CommandError("no AWS region is chosen", "export AWS_REGION=eu-west-1", USAGE)
        case exceptions.TokenRetrievalError() | exceptions.SSOError():
            return CommandError("the log-in has ended", "aws sso login", NOT_ALLOWED)
        case exceptions.HTTPClientError() | exceptions.ConnectionError():
            where = str(getattr(cause, "kwargs", {}).get("endpoint_url", "")) or "AWS"
            return CommandError(f"no answer from {where}", "look at the network, AWS_ENDPOINT_URL and AWS_REGION")
        case exceptions.BotoCoreError():
            return CommandError(f"AWS could not be called: {type(cause).__name__}", "aws sts get-caller-identity")
        case OSError() if cause.filename is not None:
            return CommandError(f"{cause.filename}: {cause.strerror}")
    return CommandError(str(cause))


def _of_answer(error: "ClientError") -> CommandError:
    code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if code.startswith(_BAD_KEY):
        return CommandError(f"AWS does not take these credentials ({code})", "aws sts get-caller-identity", NOT_ALLOWED)
    if code.startswith(DENIED):
        return CommandError(f"AWS does not allow {error.operation_name}: {said}", "another role", NOT_ALLOWED)
    if code == "ValidationException" and "specified index" in said:
        return CommandError("the ledger's table has no index of what happened", "lockout doctor says how to add it")
    return CommandError(f"AWS refused {error.operation_name}: {code}: {said}")
