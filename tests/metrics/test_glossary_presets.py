"""The sizes that the Glossary gives for the presets are those of the configurations."""

from explorer.config.presets import get_preset
from explorer.metrics.glossary import term


def test_the_glossary_states_the_sizes_of_the_presets() -> None:
    text = term("preset").text
    for name in ("quick", "standard"):
        config = get_preset(name)
        training, layers = config.training, config.model.num_layers
        sizes = f"{layers} MoE layers, {training.num_steps} steps of {training.tokens_per_step:,} tokens"
        assert f"{name.capitalize()}: {sizes}" in text
