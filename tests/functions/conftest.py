"""How hard hypothesis looks: ``quick``, unless the environment says ``HYPOTHESIS_PROFILE=thorough``."""

import os

from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

settings.register_profile(
    "quick",
    max_examples=200,
    deadline=None,
    database=DirectoryBasedExampleDatabase(".local/hypothesis"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
