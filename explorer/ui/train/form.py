"""The form of the Train page, made from the fields of `RunConfig`.

The help of a field is the docstring under it (`field_docs`): one text for code, form and reader.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import streamlit as st

from explorer.config.model import ROUTINGS, SCORE_FUNCS
from explorer.config.rule_text import SCOPES
from explorer.config.rules import BIAS_SCOPES, STEP_DECAYS
from explorer.config.run import CORPORA, CorpusConfig, ModelConfig, RunConfig, TrainingConfig
from explorer.ui.train.field_docs import field_docs
from explorer.ui.train.labels import UNSET, field_label, value_label

SECTIONS: dict[str, type] = {"corpus": CorpusConfig, "model": ModelConfig, "training": TrainingConfig}
TITLES = {"corpus": "Text", "model": "Model", "training": "Training"}
BASIC = ("corpus.name", "training.num_steps", "model.num_experts", "model.top_k", "model.num_layers",
         "training.learning_rate")  # fmt: skip
NOT_SHOWN = ("training.seed",)
"""Asked for elsewhere on the page."""
CHOICES: dict[str, Sequence[str | None]] = {
    "corpus.name": CORPORA,
    "corpus.tokenizer": ("bpe", "bytes"),
    "model.position": ("rotary", "learned"),
    "model.score_func": SCORE_FUNCS,
    "model.gate_func": (None, *SCORE_FUNCS),
    "model.routing": tuple(ROUTINGS),
    "model.drop_policy": ("probability", "position"),
    "model.dispatch": ("auto", "grouped", "loop", "dense"),
    "training.lr_schedule": ("cosine", "multistep", "constant"),
    "training.device": ("auto", "cpu", "cuda"),
    "aux_loss.scope": SCOPES,
    "aux_loss.score_norm": ("l1", "raw"),
    "gshard_loss.scope": ("sequence", "micro_batch"),
    "gshard_loss.normalisation": ("unit", "paper"),
    "loss_free.update_rule": ("sign", "proportional", "rms"),
    "loss_free.bias_form": ("additive", "multiplicative"),
    "loss_free.step_decay": tuple(STEP_DECAYS),
    "loss_free.scope": BIAS_SCOPES,
}

PER_ROW = 3
"""Fields per row of the form."""


@dataclass(frozen=True, kw_only=True)
class FormField:
    """One field of a configuration as a widget."""

    section: str
    name: str
    default: Any
    help: str
    is_fraction: bool = False
    """Whether a field that may be left empty takes numbers with a point."""

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def label(self) -> str:
        return field_label(self.path)


def form_fields(config: RunConfig) -> list[FormField]:
    """Every field of corpus, model and training, with the value of `config` as its default."""
    return [
        field
        for section, kind in SECTIONS.items()
        for field in fields_of(section, kind, getattr(config, section))
        if field.path not in NOT_SHOWN
    ]


def fields_of(section: str, kind: Any, values: Any) -> list[FormField]:
    """The fields of one dataclass."""
    docs = field_docs(kind)
    return [
        FormField(
            section=section,
            name=f.name,
            default=getattr(values, f.name),
            help=_help(section, f.name, docs),
            is_fraction="float" in str(f.type),
        )
        for f in fields(kind)
    ]


def _help(section: str, name: str, docs: Mapping[str, str]) -> str:
    text = docs.get(name, "")
    return f"{text} (`{section}.{name}`)".strip()


def changes(config: RunConfig, sections: Mapping[str, Mapping[str, Any]]) -> str:
    """The fields of a filled form that differ from a configuration: `steps 500 (instead of 200)`."""
    return ", ".join(
        f"{field.label} {value_label(sections[field.section][field.name])} "
        f"(instead of {value_label(field.default)})"
        for field in form_fields(config)
        if sections[field.section][field.name] != field.default
    )


def widget(field: FormField, key: str) -> Any:
    """Draw a field and return its value. `RunConfig` checks bounds and words the errors."""
    settings: dict[str, Any] = {"key": f"{key}_{field.path}", "help": field.help}
    if field.path in CHOICES:
        options = list(CHOICES[field.path])
        return st.selectbox(
            field.label,
            options,
            index=options.index(field.default),
            format_func=value_label,
            **settings,
        )
    if isinstance(field.default, bool):
        return st.toggle(field.label, value=field.default, **settings)
    if isinstance(field.default, int):
        return st.number_input(field.label, value=field.default, step=1, **settings)
    if isinstance(field.default, float):
        return st.number_input(
            field.label, value=field.default, step=field.default / 10 or 0.1, format="%g", **settings
        )
    step = 0.05 if field.is_fraction else 1
    return st.number_input(field.label, value=None, step=step, placeholder=UNSET, **settings)


def in_rows(fields: Sequence[FormField], key: str) -> Iterator[tuple[FormField, Any]]:
    """Draw fields in rows, aligned at the bottom and in this order on a phone too; yields their values."""
    for start in range(0, len(fields), PER_ROW):
        row = st.columns(PER_ROW, vertical_alignment="bottom")
        for column, field in zip(row, fields[start : start + PER_ROW], strict=False):
            with column:
                value = widget(field, key)
            yield field, value


def config_form(config: RunConfig, key: str) -> dict[str, dict[str, Any]]:
    """Draw the whole form; returns section -> field -> value, unchecked."""
    sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    all_fields = form_fields(config)
    with st.container(border=True, key="controls_config"):
        basic = [field for path in BASIC for field in all_fields if field.path == path]
        for field, value in in_rows(basic, key):
            sections[field.section][field.name] = value
    for section, title in TITLES.items():
        rest = [f for f in all_fields if f.section == section and f.path not in BASIC]
        with st.expander(f"{title}: {len(rest)} more settings"):
            for field, value in in_rows(rest, key):
                sections[section][field.name] = value
    return sections
