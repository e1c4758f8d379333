"""The experiments that need a trained model's weights: each run trains one and examines it in a child."""

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from explorer.evidence.experiment import Arm, Experiment, Metrics, arm_of_trial
from explorer.evidence.plan import config_of
from explorer.evidence.results import EvidenceError

FEW = {"tiny": 2, "quick": 5, "standard": 5, "long": 5}


def _examined(settings: Mapping[str, Any], seed: int, scale: str, *, what: str) -> Metrics:
    """Train and examine in a process of its own: nothing here may load torch."""
    values = dict(settings)
    text = values.pop("text", "none")
    config = config_of(tuple(values.items()), Arm(key="", label=""), scale, seed, text)
    command = [sys.executable, "-m", "explorer", "experiment", "examine", what]
    result = subprocess.run(
        command, input=json.dumps(config.to_dict()), capture_output=True, text=True, check=False
    )
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise EvidenceError(f"{what}, seed {seed}: the examination failed ({reason}).")
    measured: Metrics = json.loads(result.stdout)
    return measured


LEAK = Experiment(
    id="leak",
    title="Expert choice and the future",
    question="Does a later token change the experts of earlier ones?",
    arms=(
        arm_of_trial("expert_choice", "expert choice, one sequence", "expert_choice:chunk=64"),
        arm_of_trial("loss_free", "loss-free", "loss_free"),
    ),
    trial=partial(_examined, what="leak"),
    pairs=FEW,
    priority=5,
    note="One later token is changed at a time; shares of the tokens before it, after training.",
)
ABLATION = Experiment(
    id="ablation",
    title="Without an expert",
    question="Does a model lose more without its shared expert than without a routed one?",
    arms=(arm_of_trial("shared", "one shared expert", "aux_loss", ("model.num_shared_experts", 1)),),
    trial=partial(_examined, what="ablation"),
    pairs=FEW,
    priority=5,
)
GRADIENTS = Experiment(
    id="expert-gradients",
    title="Gradients of the experts",
    question="Does balancing give every expert a gradient?",
    arms=(arm_of_trial("none", "no balancing", "none"), arm_of_trial("loss_free", "loss-free", "loss_free")),
    trial=partial(_examined, what="gradients"),
    pairs=FEW,
    priority=5,
)
EXAMINATIONS = (LEAK, ABLATION, GRADIENTS)
