"""Write one run's loads to a file of another system, whole or not at all."""

from pathlib import Path

from explorer.errors import ConfigError
from explorer.files import replacing
from explorer.outward.formats import FORMATS, Settings
from explorer.outward.loads import RunLoads
from explorer.recording import RunInfo
from explorer.wording import listed

UNIT = "assignments"


def convert(loads: RunLoads, to: str, out: Path, settings: Settings | None = None) -> list[str]:
    """Write `out` in the format `to`; returns sentences about what the file does not say.

    Raises ConfigError for an unknown format or a run that does not fit into it, and OSError.
    """
    if to not in FORMATS:
        raise ConfigError("--to", to, "is not a known format", f"choose one of {', '.join(FORMATS)}")
    if not loads.info.num_moe_layers:
        raise ConfigError("RUN", loads.folder.run_id, "has no loads of experts", "choose another run")
    with replacing(out) as file:
        FORMATS[to].write(loads, settings or Settings(), file)
    return _remarks(loads.info, to, out)


def _remarks(info: RunInfo, to: str, out: Path) -> list[str]:
    form = FORMATS[to]
    remarks = []
    if info.unit not in ("", UNIT):  # "" for a run of a training loop
        remarks.append(f"The numbers are {info.unit}, not {UNIT}.")
    if not form.names_layers and info.layers is not None:
        remarks.append(f"The rows are the MoE layers {listed(info.layer_numbers)} in this order.")
    options = [f"--format {form.import_as}"]
    if form.import_as == "table":
        options.append(f"--option num_experts={info.num_experts}")
    if not form.is_placement:
        options.append(f"--option top_k={info.top_k}")
    if not form.names_layers and info.layers is not None:
        options.append(f"--option layers={','.join(map(str, info.layer_numbers))}")
    if not info.is_even:
        remarks.append(
            "Layers have different numbers of experts; an import gives all of them the width of the widest."
        )
    return [*remarks, f"To read it back: python -m explorer import {out} {' '.join(options)}"]
