"""The operators' command line: `.venv/bin/lockout`, or `python -m lockout`.

The commands are in ``lockout.commands``, and what they share is beside it.
It reads a deployment's configuration with `configuration`, and understands events with the code in `functions`.
"""
