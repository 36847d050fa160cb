"""One deployment: its configuration, and its functions' settings."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from configuration import loader
from configuration.loader import Configuration
from device_lockout.values import settings
from device_lockout.values.settings import Settings

CHECKOUT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Deployment:
    """The configuration in `config/NAME.toml`, and the settings that its functions run with."""

    configuration: Configuration
    settings: Settings

    @classmethod
    def load(cls, name: str) -> Self:
        """Load `config/NAME.toml` of the checkout. An installed command reads that of the current directory.

        Raises:
            ConfigurationError: The file can't be used. The message names every mistake.
        """
        root = CHECKOUT if (CHECKOUT / "config").is_dir() else Path()
        read = loader.load(name, root / "config")
        return cls(read, settings.parse(json.loads(json.dumps(read.settings()))))
