"""A trained model for the tests of tasks."""

import pytest
from task_models import make_trained

from explorer.tasks.trained import TrainedModel


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    """A model of short sequences, which generation and long contexts exceed."""
    return make_trained("loss_free", sequence_length=8)
