"""`lockout COMMAND`: the operators' command line. Each command is imported when it is called."""

import os
import sys
from functools import cached_property
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from lockout import output
from lockout.errors import INTERRUPTED, NO, USAGE, CommandError, explain

COMMANDS = {
    "Ask": {
        "status": ("status_and_history", "who is locked now, why and until when; what needs somebody"),
        "show": ("status_and_history", "one device, user or ticket: what stands and what is wanted"),
        "history": ("status_and_history", "what happened: by ticket, user, device, event or time"),
        "watch": ("status_and_history", "outcomes as they come"),
    },
    "Act": {
        "lock": ("lock_and_release", "lock a device, or all devices of a user"),
        "release": ("lock_and_release", "let a device or a user back in"),
        "undo": ("undo", "release what one source locked since some time"),
        "extend": ("lock_and_release", "let a lock end later or sooner"),
    },
    "Run": {
        "sweep": ("sweep", "what the next sweep would do, how the last ones went, one now"),
        "dead": ("dead_letters", "what ended up in a dead-letter queue, and its way back"),
        "forget": ("forget", "erase what the ledger holds of a user"),
        "doctor": ("doctor", "is this deployment whole? and what mends it"),
        "drill": ("lock_and_release", "lock and release a device that nobody uses; how long it took"),
    },
    "Tell": {
        "report": ("report", "what happened and what stands, as one page, JSON or CSV"),
        "evidence": ("evidence", "everything about one incident in one archive, and its check"),
    },
    "Set up": {
        "inventory": ("inventory", "enrol the devices of a CSV file"),
        "mapping": ("mapping", "say what each source would make of an event"),
        "config": ("config", "a configuration: its mistakes, what it means, what is deployed"),
        "export": ("export", "print every override"),
        "handover": ("handover", "write down all that must outlast WorkMail"),
    },
}
"""Each command, its module in ``lockout/commands``, and its line in the help."""

EPILOG = """\b
Examples:
  lockout status
  lockout lock bob ABC123 --why lost --ref INC-1234
  lockout history INC-1234

\b
Exit status: 0 yes or done, 1 no or not done, 2 called wrongly,
3 not known yet, 4 not allowed, 130 interrupted."""


class _Lazy(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> Any:  # noqa: ARG002
        modules = {name: module for section in COMMANDS.values() for name, (module, _) in section.items()}
        if cmd_name not in modules:
            return None
        return getattr(import_module(f"lockout.commands.{modules[cmd_name]}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for heading, section in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, said) for name, (_, said) in section.items()])


class _Later:
    """The deployment, found when a command first uses it: its help needs no AWS."""

    def __init__(self, stack: str | None) -> None:
        self._stack = stack

    @cached_property
    def _found(self) -> Any:
        from lockout import deployment

        return deployment.find(self._stack, deployment.clients())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found, name)


@click.group(cls=_Lazy, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--stack", metavar="NAME", envvar="LOCKOUT_STACK", help="the stack, or its owner (default: the only one)")
@click.version_option(package_name="workmail-device-lockout")
@click.pass_context
def lockout(ctx: click.Context, stack: str | None) -> None:
    """WorkMail device lockout, from your shell."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        ctx.color = False
    ctx.obj = ctx.obj or _Later(stack)


def main(arguments: list[str] | None = None, deployment: Any = None) -> int:
    """Run one command, by default the process's, and return its exit status.

    ``deployment`` takes the place of the one that is found.
    """
    if isinstance(sys.stdout, TextIOWrapper):  # a file is UTF-8, and a terminal shows what it lacks as an escape
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="backslashreplace")
    try:
        return int(lockout.main(arguments, prog_name="lockout", standalone_mode=False, obj=deployment) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.UsageError as error:
        where = f"{error.ctx.command_path} --help" if error.ctx else "lockout --help"
        return _say(CommandError(error.format_message(), where, USAGE))
    except click.ClickException as error:
        return _say(CommandError(error.format_message()))
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO
    except Exception as error:
        if os.environ.get("LOCKOUT_DEBUG"):
            raise
        return _say(explain(error))


def _say(error: CommandError) -> int:
    click.echo(f"lockout: {output.text(str(error))}", err=True)
    if error.hint:
        click.echo(f"try: {output.in_line(error.hint)}", err=True)
    return error.status


if __name__ == "__main__":
    sys.exit(main())
