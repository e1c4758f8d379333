"""TensorRT-LLM's expert statistics: a folder with `meta_info.json` {"num_experts", "num_experts_per_token"}
and one `rank{r}.safetensors` per rank, whose keys `"{iteration}_{layer}"` hold int64 [E]. Ranks are summed.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np

from explorer.errors import shortened
from explorer.importers.arrays import checked_size, count_array
from explorer.importers.load_checks import live_layers
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.safetensors import Tensors
from explorer.importers.source import Source, files_matching
from explorer.importers.trace import ForeignRun, LoadStep, model_layers, zeros
from explorer.wording import counted

RANK_FILE = r"rank\d+\.safetensors"
KEY = re.compile(r"(\d{1,15})_(\d{1,4})")


class TensorRtLlm:
    """The format's reader."""

    name = "tensorrt_llm"
    label = "TensorRT-LLM expert statistics"
    options = ()

    def matches(self, source: Source) -> bool:
        return bool(files_matching(source, RANK_FILE))

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        report = Report()
        experts, top_k = self._meta(source, options)
        files = files_matching(source, RANK_FILE)
        tensors = [Tensors(file) for file in files]
        keys = sorted(
            {_key(name, file) for file, one in zip(files, tensors, strict=True) for name in one.entries}
        )
        if not keys:
            raise source.problem("", "holds no statistics")
        in_file = sorted({layer for _, layer in keys})
        total = np.zeros(len(in_file))
        for _, tokens in self._summed(files, tensors, keys, in_file, experts):
            total += tokens.sum(axis=1)
        live = live_layers(total, in_file, source, report)
        report.note("ranks", f"{counted(len(files), 'rank')} summed.", ranks=len(files))
        if len(files) > 1:
            report.assumption(
                "ranks_disjoint",
                "Every rank is taken to have counted tokens of its own; where ranks saw the same tokens, "
                "as under tensor parallelism, the loads are too high by the number of ranks.",
                ranks=len(files),
            )
        steps = (
            LoadStep(step=step, tokens_LE=tokens[live])
            for step, tokens in self._summed(files, tensors, keys, in_file, experts)
        )
        yield ForeignRun(
            steps=steps,
            layers=model_layers(options, in_file, live),
            num_experts=experts,
            top_k=top_k,
            report=report,
            phase="serving",
        )

    def _meta(self, source: Source, options: Options) -> tuple[int, int | None]:
        metas = files_matching(source, r"meta_info\.json")
        if not metas:
            return options.num_experts(), options.top_k()
        meta = metas[0].document()
        if not isinstance(meta, dict):
            raise metas[0].problem("", "must be an object")
        experts = checked_size(meta.get("num_experts"), "num_experts", metas[0], "")
        top_k = meta.get("num_experts_per_token")
        stated = None if top_k is None else checked_size(top_k, "num_experts_per_token", metas[0], "")
        return options.num_experts(experts), options.top_k(stated)

    def _summed(
        self,
        files: list[Source],
        tensors: list[Tensors],
        keys: list[tuple[int, int]],
        in_file: list[int],
        experts: int,
    ) -> Iterator[tuple[int, np.ndarray[tuple[int, int], np.dtype[np.int64]]]]:
        """(iteration, [L, E]) in order."""
        place = {layer: position for position, layer in enumerate(in_file)}
        with ExitStack() as stack:
            opened = [stack.enter_context(file.opened()) for file in files]
            step, tokens = keys[0][0], zeros(len(in_file), experts)
            for iteration, layer in keys:
                if iteration != step:
                    yield step, tokens
                    step, tokens = iteration, zeros(len(in_file), experts)
                name = f"{iteration}_{layer}"
                for source, one, file in zip(files, tensors, opened, strict=True):
                    if name in one.entries:
                        row = count_array(one.read(name, file), source, f"tensor {name}")
                        if row.shape != (experts,):
                            raise source.problem(f"tensor {name}", f"must have the shape [{experts}]")
                        tokens[place[layer]] += row
            yield step, tokens


def _key(name: str, source: Source) -> tuple[int, int]:
    match = KEY.fullmatch(name)
    if match is None:
        raise source.problem(f"tensor {shortened(name)}", "must be named {iteration}_{layer}")
    return int(match[1]), int(match[2])


FORMATS = (TensorRtLlm(),)
