"""Reads a deployment's configuration, ``config/NAME.toml``, into values, and reports every mistake at once."""
