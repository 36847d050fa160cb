"""`make down`: stop the server that `make up` started, with everything that runs in it."""

from local import lifecycle
from local.lifecycle import STATE
from local.up import alone


def main() -> None:
    """Stop the server, if one runs."""
    with alone(STATE):
        stopped = lifecycle.stop(STATE)
    print("the local AWS is down" if stopped else "no local AWS was up")


if __name__ == "__main__":
    main()
