"""Checks of the folder: its documents and the checksums of its tables."""

from explorer.errors import RunFolderError, UnreadableRunError
from explorer.recording import check_file
from explorer.recording.checksums import check_values
from explorer.verify.data import RunData
from explorer.verify.findings import NOT_CHECKSUMMED, Check, Difference, Findings


def check_documents(run: RunData) -> Check:
    """run.json: compare digests and sizes with its configuration."""
    found = Findings("documents")
    config, info = run.config, run.info
    if config is None:
        found.skip("The configuration of run.json is not one of this project's trainer.")
        return found.check()
    layers = config.model.num_moe_layers
    for name, recorded, expected in (
        ("config_digest", info.config_digest, config.digest),
        ("pair_key", info.pair_key, config.pair_key),
        ("balancer", info.balancer, config.arm),
        ("seed", info.seed, config.seed),
        ("num_moe_layers", info.num_moe_layers, layers),
        ("num_experts", info.num_experts, config.model.num_experts),
        ("top_k", info.top_k, config.model.top_k),
        ("tokens_per_step", info.tokens_per_step, config.training.tokens_per_step),
        ("num_steps", info.num_steps, config.training.num_steps),
    ):
        found.compared += 1
        if recorded != expected:
            note = "from the configuration in run.json"
            found.differ(
                Difference(table="run.json", column=name, recorded=recorded, expected=expected, note=note)
            )
    return found.check()


def check_checksums(run: RunData) -> Check:
    """Every valid file: its bytes and the values of its columns."""
    found = Findings("checksums", unresolved=NOT_CHECKSUMMED)
    try:
        parts = [part for parts in run.folder.snapshot().parts.values() for part in parts]
    except RunFolderError as error:
        found.differ(
            Difference(table=run.folder.path.name, recorded=str(error), expected="a readable folder")
        )
        return found.check()
    without = 0
    for part in parts:
        try:
            if check_file(part.path):
                check_values(part.path)
                found.compared += 1
            else:
                without += 1
        except FileNotFoundError:
            continue  # merged since it was listed; the merge checked it
        except UnreadableRunError as error:
            found.compared += 1
            found.differ(
                Difference(
                    table=part.table,
                    where=part.path.name,
                    recorded="other values",
                    expected="its checksum",
                    note=str(error),
                )
            )
    if without:
        found.skip(f"{without} of {len(parts)} files carry no checksum.")
    return found.check()
