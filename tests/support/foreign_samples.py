"""Every format of another system, with a function that writes a small file of it."""

from collections.abc import Callable
from pathlib import Path

import count_samples as counts
import route_samples as routes
from foreign_files import Sample

SAMPLES: dict[str, tuple[str, Callable[[Path], Sample]]] = {
    "csv": ("table", counts.sample_csv),
    "parquet": ("table", counts.sample_parquet),
    "training_csv": ("training_csv", counts.sample_training_csv),
    "llama_cpp": ("llama_cpp", routes.sample_llama_cpp),
    "sglang_csv": ("sglang_csv", counts.sample_sglang_csv),
    "npy": ("npy", counts.sample_npy),
    "sglang": ("sglang", counts.sample_sglang),
    "sglang_stat": ("sglang_recorder", counts.sample_sglang_stat),
    "sglang_passes": ("sglang_recorder", counts.sample_sglang_passes),
    "moe_routes": ("moe_routes", routes.sample_moe_routes),
    "vllm_eplb": ("vllm_eplb", counts.sample_vllm_eplb),
    "megatron_trace": ("megatron_trace", routes.sample_megatron_trace),
    "megatron_tokens": ("megatron_tokens", counts.sample_megatron_tokens),
    "tensorrt_llm": ("tensorrt_llm", counts.sample_trtllm),
    "esft": ("esft", routes.sample_esft),
    "esft_summary": ("esft_summary", counts.sample_esft_summary),
    "fingerprint": ("gpt_oss_fingerprint", counts.sample_fingerprint),
    "routed_experts": ("routed_experts", routes.sample_routed_experts),
    "routes_npy": ("routed_experts", routes.sample_routes_npy),
    "router_logits": ("router_logits", routes.sample_router_logits),
    "eplb_json": ("eplb", counts.sample_eplb_json),
    "eplb_csv": ("eplb", counts.sample_eplb_csv),
    "printed_tensors": ("printed_tensors", counts.sample_printed),
    "olmoe_counts": ("olmoe_counts", counts.sample_olmoe),
    "olmoe_routes": ("olmoe_routes", routes.sample_olmoe_routes),
    "moewatch": ("moewatch", counts.sample_moewatch),
    "plumb": ("plumb", counts.sample_plumb),
    "moe_routing_atlas": ("moe_routing_atlas", routes.sample_atlas),
    "ascend_map": ("ascend_map", counts.sample_ascend),
    "placement_map": ("placement_map", counts.sample_placement_map),
    "tensorboard": ("tensorboard", counts.sample_tensorboard),
    "wandb_jsonl": ("scalar_jsonl", counts.sample_wandb_jsonl),
    "wandb_csv": ("scalar_csv", counts.sample_wandb_csv),
}
"""Name -> the format that must be found, and the function that writes a file of it."""
