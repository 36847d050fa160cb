"""Read a deployment's configuration, ``config/NAME.toml``, and report all mistakes at once."""
