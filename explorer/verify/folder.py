"""Checks of the folder: its documents and the checksums of its tables."""

from explorer.errors import RunFolderError, UnreadableRunError
from explorer.recording import check_file
from explorer.recording.checksums import check_values
from explorer.verify.data import RunData
from explorer.verify.findings import NOT_CHECKSUMMED, Check, Difference, Findings


def check_documents(run: RunData) -> Check:
    """run.json: compare digests and sizes with its configuration."""
    findings = Findings("documents")
    config, info = run.config, run.info
    if config is None:
        findings.skip("The configuration of run.json is not one of this project's trainer.")
        return findings.check()
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
        findings.compared += 1
        if recorded != expected:
            note = "from the configuration in run.json"
            findings.differ(
                Difference(table="run.json", column=name, recorded=recorded, expected=expected, note=note)
            )
    return findings.check()


def check_checksums(run: RunData) -> Check:
    """Every valid file: its bytes and the values of its columns."""
    findings = Findings("checksums", unresolved=NOT_CHECKSUMMED)
    try:
        parts = [part for parts in run.folder.snapshot().parts.values() for part in parts]
    except RunFolderError as error:
        findings.differ(
            Difference(table=run.folder.path.name, recorded=str(error), expected="a readable folder")
        )
        return findings.check()
    without = 0
    for part in parts:
        try:
            if check_file(part.path):
                check_values(part.path)
                findings.compared += 1
            else:
                without += 1
        except FileNotFoundError:
            continue  # merged since it was listed; the merge checked it
        except UnreadableRunError as error:
            findings.compared += 1
            findings.differ(
                Difference(
                    table=part.table,
                    where=part.path.name,
                    recorded="other values",
                    expected="its checksum",
                    note=str(error),
                )
            )
    if without:
        findings.skip(f"{without} of {len(parts)} files carry no checksum.")
    return findings.check()
