"""The fields of the Import page: answers to what a file does not say."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from explorer.importers.trace import Format


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One option of the importers as a field."""

    label: str
    help: str
    placeholder: str = ""


MODEL = {
    "num_experts": Answer(
        label="Experts per layer (num_experts)",
        help="Routed experts per MoE layer. Only needed if the file does not state it: the largest id that "
        "occurs is no proof, since an expert may be idle.",
        placeholder="e.g. 60",
    ),
    "top_k": Answer(
        label="Experts per token (top_k)",
        help="K. Without it each assignment counts as one token.",
        placeholder="e.g. 8",
    ),
    "layers": Answer(
        label="Layer numbers (layers)",
        help="The model's own numbers of its MoE layers, such as 3-60 or 1,3,5.",
        placeholder="as in the file",
    ),
    "phase": Answer(
        label="Phase (phase)", help="A label of the run.", placeholder="training, prefill or decode"
    ),
    "balancer": Answer(
        label="Balancing rule (balancer)",
        help="The rule of the training run, if known.",
        placeholder="e.g. loss_free:u=0.001",
    ),
    "name": Answer(label="Name (name)", help="Display name of the run.", placeholder="the file's name"),
}
"""Always shown."""
MORE = {
    "layer_offset": Answer(label="layer_offset", help="Added to the layer numbers of the file."),
    "scope": Answer(
        label="scope", help="Which tokens a count covers.", placeholder="global, rank or physical"
    ),
    "unit": Answer(label="unit", help="What is counted."),
    "warm_up": Answer(
        label="warm_up",
        help="Write keep to count blocks of 16 or more identical routes, too.",
        placeholder="left out",
    ),
    "split": Answer(
        label="split",
        help="Write starts for one run per engine start, or phases to split routed experts of responses into "
        "a prefill run and a decode run.",
        placeholder="one run",
    ),
    "tokens_per_step": Answer(
        label="tokens_per_step",
        help="Cut a route log into steps of this many tokens.",
        placeholder="all tokens are one step",
    ),
    "routes": Answer(
        label="routes",
        help="Tokens whose routes are kept, for the Microscope and for comparing two traces; 0 keeps none.",
        placeholder="2048",
    ),
    "axes": Answer(label="axes", help="Order of the axes of an array, e.g. layer,step,expert."),
    "columns": Answer(label="columns", help="Names of the columns of a CSV without a header."),
    "step": Answer(label="step", help="Name of the column."),
    "layer": Answer(label="layer", help="Name of the column; of an ESFT file: its layer."),
    "expert": Answer(label="expert", help="Name of the column."),
    "tokens": Answer(label="tokens", help="Name of the column with the loads."),
    "bias": Answer(label="bias", help="Name of the column."),
    "dropped": Answer(label="dropped", help="Name of the column."),
    "loss": Answer(label="loss", help="Name of the column."),
    "num_layers": Answer(label="num_layers", help="MoE layers of a flat array of routed experts."),
    "expert_parallel_size": Answer(
        label="expert_parallel_size",
        help="Ranks that share the experts of a layer.",
        placeholder="num_experts / local experts",
    ),
    "scores": Answer(label="scores", help="token_scores or gate_scores."),
    "values": Answer(label="values", help="count_frequency or prob_density."),
}
"""In a closed section; only those that the format knows, beside the first three."""
COMMON_MORE = ("layer_offset", "scope", "unit")
NOT_HERE = {"tokens_of"}
"""Names a folder of the server, which is nothing a visitor may read: on the command line only."""
MAX_LETTERS = 200


def field_key(name: str) -> str:
    """The key of the field of an option."""
    return f"import_{name}"


def show_fields(form: Format) -> dict[str, str]:
    """Draw the fields of a format; returns the options that the visitor has filled in."""
    values = _grid(MODEL)
    own = [name for name in form.options if name not in MODEL and name not in NOT_HERE]
    with st.expander("More options", icon=":material/tune:"):
        values |= _grid({name: MORE.get(name, Answer(label=name, help="")) for name in (*COMMON_MORE, *own)})
    return values


def _grid(answers: dict[str, Answer]) -> dict[str, str]:
    values = {}
    grid = st.grid(3, min_column_width=230)
    for name, answer in answers.items():
        with grid.cell():
            value = st.text_input(
                answer.label,
                key=field_key(name),
                help=answer.help or None,
                placeholder=answer.placeholder,
                max_chars=MAX_LETTERS,
            )
        if value.strip():
            values[name] = value.strip()
    return values


def labels(forms: Sequence[Format]) -> dict[str, str]:
    """Name -> label with the name, as the list of formats shows them, by label."""
    return {form.name: f"{form.label} ({form.name})" for form in sorted(forms, key=lambda f: f.label.lower())}
