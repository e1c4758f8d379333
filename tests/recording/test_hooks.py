"""`watch`: what transformers' and torchtitan's own routers select, against counts taken by brute force."""

from pathlib import Path
from typing import Any

import pytest
from megatron_router import TopKRouter

from explorer.errors import RunFolderError
from explorer.recording import Recorder, RunFolder
from explorer.recording.hooks import watch

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
E, K, B, S = 8, 2, 3, 6
SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 16,
    "moe_intermediate_size": 8,
    "shared_expert_intermediate_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "num_experts": E,
    "num_local_experts": E,
    "n_routed_experts": E,
    "num_experts_per_tok": K,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "decoder_sparse_step": 1,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "n_shared_experts": 1,
}
MODELS = [
    "Mixtral",
    "Olmoe",
    "Qwen2Moe",
    "Qwen3Moe",
    "DeepseekV2",
    "DeepseekV3",
    "GptOss",
    "GraniteMoe",
    "Phimoe",
    "Glm4Moe",
]
LEFT = [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1]]


def make_model(family: str) -> Any:
    """A tiny model with random weights."""
    torch.manual_seed(0)
    kind = getattr(transformers, f"{family}Config")
    known = kind().to_dict()
    config = kind(**{name: value for name, value in SIZES.items() if name in known or name == "head_dim"})
    config._attn_implementation = "eager"
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("gate.weight", "router.weight")):
                parameter.normal_()
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.normal_(std=0.5)
    return model


class BruteForce:
    """Wraps the experts' forward of every layer and keeps the ids that it is called with."""

    def __init__(self, model: Any) -> None:
        self.passes: dict[str, list[Any]] = {}
        for name, module in model.named_modules():
            if name.rpartition(".")[2] == "experts":
                self.passes[name] = []
                module.register_forward_pre_hook(self._keep(name), with_kwargs=True)

    def _keep(self, name: str) -> Any:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            ids = [a for a in [*args, *kwargs.values()] if torch.is_tensor(a) and not a.is_floating_point()]
            self.passes[name].append(ids[0].clone())

        return hook

    def counts(self, masks: list[Any] | None = None) -> list[list[int]]:
        """[L][E], token by token. masks: one [B, S] per pass."""
        rows = []
        for passes in self.passes.values():
            row = [0] * E
            for index, ids in enumerate(passes):
                keep = None if masks is None else torch.as_tensor(masks[index]).reshape(-1).tolist()
                for token, experts in enumerate(ids.reshape(-1, K).tolist()):
                    if keep is None or keep[token]:
                        for expert in experts:
                            row[expert] += 1
            rows.append(row)
        return rows


def taken(watcher: Any) -> list[list[int]]:
    return [counts.tolist() for counts in watcher.take()["tokens_per_expert"]]


def batch() -> Any:
    return torch.randint(1, 50, (B, S), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", MODELS)
def test_training_with_padding(family: str) -> None:
    model = make_model(family).train()
    brute = BruteForce(model)
    watcher = watch(model)
    assert watcher.sizes["num_experts"] == E
    assert watcher.sizes["top_k"] == K
    assert watcher.sizes["num_layers"] == len(brute.passes)
    for mask in (LEFT, [row[::-1] for row in LEFT]):
        out = model(input_ids=batch(), attention_mask=torch.tensor(mask), labels=batch())
        out.loss.backward()
    assert taken(watcher) == brute.counts([LEFT, [row[::-1] for row in LEFT]])
    assert watcher.take() == {}


@pytest.mark.parametrize("family", MODELS)
def test_generation_is_followed_on_request(family: str) -> None:
    model = make_model(family).eval()
    brute = BruteForce(model)
    silent, watcher = watch(model), watch(model, training_only=False)
    ids, mask = batch(), torch.tensor(LEFT)
    with torch.no_grad():
        model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=4, do_sample=False, min_new_tokens=4
        )
    first = next(iter(brute.passes.values()))
    masks = [mask, *[torch.ones(len(part) // B * B).reshape(B, -1) for part in first[1:]]]
    assert len(first) == 4
    assert taken(watcher) == brute.counts(masks)
    assert silent.take() == {}


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_is_not_counted(reentrant: bool) -> None:
    model = make_model("Olmoe").train()
    watcher = watch(model)
    model(input_ids=batch()).logits.sum().backward()
    once = taken(watcher)
    model.activation_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    brute = BruteForce(model)
    model(input_ids=batch()).logits.sum().backward()
    assert all(len(passes) == 2 for passes in brute.passes.values())
    assert taken(watcher) == once


def test_a_mask_that_is_given_by_position_counts_too() -> None:
    class Wrapper(torch.nn.Module):
        """Passes everything on, as DistributedDataParallel does."""

        def __init__(self, module: Any) -> None:
            super().__init__()
            self.module = module

        def forward(self, *inputs: Any, **kwargs: Any) -> Any:
            return self.module(*inputs, **kwargs)

    model = make_model("Mixtral").train()
    for called in (model, Wrapper(model)):
        with watch(called) as watcher:
            called(batch(), torch.tensor(LEFT))
            assert sum(map(sum, taken(watcher))) == 3 * K * sum(map(sum, LEFT))


def test_evaluation_between_steps_is_not_counted() -> None:
    model = make_model("Mixtral").train()
    watcher = watch(model)
    model(input_ids=batch())
    model.eval()
    model(input_ids=batch())
    model.train()
    assert sum(map(sum, taken(watcher))) == 3 * B * S * K


def test_the_model_s_own_layer_numbers_and_the_bias_reach_the_folder(tmp_path: Path) -> None:
    model = make_model("DeepseekV3").train()
    with watch(model) as watcher:
        biases = {n: b.clone() for n, b in model.named_buffers() if n.endswith("e_score_correction_bias")}
        with Recorder(tmp_path, run_id="run", report_every_s=None, **watcher.sizes) as rec:
            model(input_ids=batch())
            for buffer in model.buffers():
                buffer += 1  # the update comes before the log, as in most loops
            rec.log(0, **watcher.take())
    folder = RunFolder(tmp_path / "run")
    rows = folder.read("expert_loads").sort("layer", "expert")
    assert rows["layer"].unique().sort().to_list() == [1, 2]
    expected = [value for bias in biases.values() for value in bias.tolist()]
    assert rows["expert_bias"].to_list() == pytest.approx(expected)
    assert folder.info.config["layer_names"] == ["model.layers.1.mlp.gate", "model.layers.2.mlp.gate"]


def test_a_model_without_routers_is_refused() -> None:
    with pytest.raises(RunFolderError, match="Linear has no module that looks like a router"):
        watch(torch.nn.Linear(2, 2))


def test_a_router_that_returns_a_map() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(TopKRouter(E, K, 4))
    watcher = watch(model)
    hidden = torch.randn(5, 4)
    watcher.set_mask([1, 1, 0, 1, 1])
    routing_map = model(hidden)[1]
    expected = routing_map[[0, 1, 3, 4]].sum(0).tolist()
    values = watcher.take()
    assert values["tokens_per_expert"][0].tolist() == expected
    model(hidden)  # a mask is for one pass
    assert taken(watcher) == [routing_map.sum(0).tolist()]
    assert values["expert_bias"][0].tolist() == model[0].expert_bias.tolist()


def test_blocks_of_multi_token_prediction_are_numbered_after_the_last_layer() -> None:
    class Router(torch.nn.Module):
        num_experts, top_k = 4, 2

    def block() -> torch.nn.Module:
        return torch.nn.ModuleDict({"router": Router()})

    model = torch.nn.Module()
    model.layers = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity(), block(), block()])
    model.mtp = torch.nn.ModuleList([block(), block()])
    sizes = watch(model).sizes
    assert sizes["layer_numbers"] == [2, 3, 4, 5]
    assert sizes["layer_names"][2:] == ["mtp.0.router", "mtp.1.router"]
