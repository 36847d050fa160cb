"""`make down`: stop the server that `make up` started, with everything that runs in it."""

from local import lifecycle
from local.lifecycle import STATE
from local.up import one_at_a_time


def main() -> None:
    """Stop the server, if one is running."""
    with one_at_a_time(STATE):
        stopped = lifecycle.stop(STATE)
    print("the local AWS is down" if stopped else "no local AWS was running")


if __name__ == "__main__":
    main()
