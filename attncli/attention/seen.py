"""Names of version 0.1, for users' mechanisms that import them: see `attncli.attention.observation`."""

from attncli.attention.observation import Observation as Seen
from attncli.attention.observation import ObservationKind as Kind

__all__ = ["Kind", "Seen"]
