"""Calls that fail before anything is sent."""

from contextlib import contextmanager


@contextmanager
def failing(client, error):
    """Let each call of a client raise ``error``. Yield the operations that were tried."""
    tried = []

    def fail(model, **_):
        tried.append(model.name)
        raise error

    client.meta.events.register_first("before-call", fail)
    try:
        yield tried
    finally:
        client.meta.events.unregister("before-call", fail)
