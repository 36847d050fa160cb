"""The operators' command line: `.venv/bin/lockout`, or `python -m lockout`.

It reads a deployment's configuration with `configuration`, and understands events with the code in `functions`.
"""
