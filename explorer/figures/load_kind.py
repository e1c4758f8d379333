"""What the loads of a run are: their unit, scope and phase."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from explorer.recording.info import REPLICAS


class KindOfLoads(NamedTuple):
    """What the loads of a run are, as the table `runs` says. Different kinds are never added or paired."""

    unit: str = "assignments"
    scope: str = "global"
    phase: str = "training"

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """From a row of `queries.list_runs`; unknown labels are empty."""
        return cls(*(row.get(field) or "" for field in cls._fields))

    @property
    def is_placement(self) -> bool:
        """Whether the numbers say where experts lie and not how busy they are: no ratio of them is a load."""
        return self.unit == REPLICAS

    @property
    def words(self) -> str:
        """What differs from global counts of a training: `prefill, shares × 10,000`; empty if nothing does.

        A phase that nobody states is not mentioned: the report of the import does that.
        """
        usual = (*OF_TRAINING, "unknown", "")
        return ", ".join(word for word in (self.phase, self.scope, self.unit) if word not in usual)

    def behind(self, name: str) -> str:
        """A name with these words: `law (prefill)`."""
        return f"{name} ({self.words})" if self.words else name


OF_TRAINING = KindOfLoads()
