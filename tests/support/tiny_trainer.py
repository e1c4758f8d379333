"""A tiny model, texts and settings for transformers' `Trainer`."""

from pathlib import Path
from typing import Any

import torch
import transformers

STEPS, ACCUMULATED, B, S, K, L, E = 6, 2, 2, 12, 2, 2, 8


class Texts(torch.utils.data.Dataset):
    """Sequences of S tokens, of which the first ones are padding."""

    def __len__(self) -> int:
        return STEPS * ACCUMULATED * B

    def __getitem__(self, index: int) -> dict[str, Any]:
        ids = torch.randint(1, 99, (S,), generator=torch.Generator().manual_seed(index))
        mask = torch.ones(S, dtype=torch.long)
        mask[: index % 4] = 0
        return {"input_ids": ids, "labels": ids.where(mask > 0, -100), "attention_mask": mask}


def tiny_model() -> Any:
    """Two layers of 8 experts, 2 per token."""
    config = transformers.OlmoeConfig(
        vocab_size=99, hidden_size=16, intermediate_size=8, num_hidden_layers=L, num_attention_heads=2,
        num_key_value_heads=2, num_experts=E, num_experts_per_tok=K, pad_token_id=0,
    )  # fmt: skip
    return transformers.OlmoeForCausalLM(config)


def settings(folder: Path, **arguments: Any) -> Any:
    """Six steps of two micro-batches on the CPU."""
    return transformers.TrainingArguments(
        output_dir=str(folder / "out"), max_steps=STEPS, per_device_train_batch_size=B, report_to=[],
        gradient_accumulation_steps=ACCUMULATED, use_cpu=True, save_strategy="no", disable_tqdm=True, seed=5,
        **arguments,
    )  # fmt: skip
