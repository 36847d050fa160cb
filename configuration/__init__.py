"""Reads a deployment's configuration, `config/NAME.toml`, into values; every mistake is reported at once."""
