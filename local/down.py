"""`make down`: stop the server that `make up` started, with everything that runs in it."""

from pathlib import Path

from local import lifecycle
from local.lifecycle import STATE
from local.up import alone


def main() -> None:
    """Stop the server, if one runs."""
    with alone(STATE):
        stopped = down(STATE)
    print("the local AWS is down" if stopped else "no local AWS was up")


def down(state: Path) -> bool:
    """Stop the server and remove what says how to reach it; False if none was running."""
    stopped = lifecycle.stop(state)
    for name in ("env", "operator.json", "root.json", "certificate.pem", "ca.pem"):
        (state / name).unlink(missing_ok=True)
    return stopped


if __name__ == "__main__":
    main()
