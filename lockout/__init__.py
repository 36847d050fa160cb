"""The operators' command line: `.venv/bin/lockout`, or `python -m lockout`.

It may use both `configuration` (the deployments' files) and all of `device_lockout` (how they are understood).
"""
