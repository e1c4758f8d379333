"""The experiments that evaluate tasks on trained models: code, long contexts, other selections."""

from functools import partial

from explorer.evidence import task_measures
from explorer.evidence.experiment import Experiment, arm_of_trial
from explorer.evidence.trained_tasks import TaskPlan, trained_and_evaluated

PAIRS = {"tiny": 2, "quick": 5, "standard": 5, "long": 5}
RULES = (
    ("loss_free", "loss-free", "loss_free"),
    ("sequence", "aux, sequence", "aux_loss:scope=sequence"),
)


LONG_CONTEXT = Experiment(
    id="long-context",
    title="Balance beyond the training length",
    question="How balanced are the experts in contexts of up to 8 times the training length, and what does a "
    "placement mend?",
    arms=tuple(arm_of_trial(*rule) for rule in RULES),
    trial=partial(
        trained_and_evaluated,
        tasks=(TaskPlan(name="long_context", problems=32_768, at_tiny=1_024),),
        measures=task_measures.of_long_context,
    ),
    trains=True,
    pairs=PAIRS,
    priority=4,
    note="All lengths see the same held-out tokens: few long sequences, or many short ones from different "
    "texts. Rotary angles continue beyond the training length, and the loss says how far that carries.",
)
SELECTION = Experiment(
    id="selection",
    title="Lynx, OEA and static top-k",
    question="At as many distinct experts per batch, does batch-aware selection stay closer to full routing "
    "than a smaller static k?",
    arms=(
        arm_of_trial("mixtral", "8 experts, top-2", "loss_free", ("model.num_experts", 8)),
        arm_of_trial("fine", "32 experts, top-4", "loss_free", ("model.num_experts", 32), ("model.top_k", 4)),
    ),
    trial=partial(
        trained_and_evaluated,
        tasks=(TaskPlan(name="selection", problems=64, at_tiny=8),),
        measures=task_measures.of_selection,
    ),
    trains=True,
    pairs=PAIRS,
    priority=4,
    note="Rows also hold the measured time of the experts on a CPU, which is the project's own kernels' and "
    "decides nothing.",
)
CODE = Experiment(
    id="code",
    title="Code, specialisation and speed",
    question="Do balancing rules differ in the loss on code, in how experts specialise, and in the steps to "
    "a target loss?",
    arms=(
        arm_of_trial("none", "no balancing", "none"),
        *(arm_of_trial(*rule) for rule in RULES),
        arm_of_trial("none_quarter", "no balancing, 1/4", "none", ("data_share", 0.25)),
        arm_of_trial("loss_free_quarter", "loss-free, 1/4", "loss_free", ("data_share", 0.25)),
        arm_of_trial("none_sixteenth", "no balancing, 1/16", "none", ("data_share", 1 / 16)),
        arm_of_trial("loss_free_sixteenth", "loss-free, 1/16", "loss_free", ("data_share", 1 / 16)),
    ),
    settings=(("evaluations", 20),),
    trial=partial(
        trained_and_evaluated,
        tasks=(
            TaskPlan(name="human_eval", problems=164),
            TaskPlan(name="library", problems=32),
            TaskPlan(name="specialisation", problems=164),
        ),
        measures=task_measures.of_code,
    ),
    trains=True,
    pairs=PAIRS,
    priority=5,
)
COMPLETIONS = Experiment(
    id="completions",
    title="Completions of code, executed",
    question="Does a model trained on code complete lines and programs better without the sequence loss?",
    arms=tuple(arm_of_trial(*rule) for rule in RULES),
    # 256 tokens hold a program with its completion, and half of them a prompt of HumanEval.
    settings=(
        ("corpus.name", "code"),
        ("longer", 4),
        ("data_share", 2),
    ),
    trial=partial(
        trained_and_evaluated,
        tasks=tuple(TaskPlan(name=name, problems=24) for name in ("fill_in", "programs", "human_eval_pass")),
        measures=task_measures.of_completions,
    ),
    trains=True,
    pairs=PAIRS,
    priority=5,
    note="24 held-out functions, 24 programs with ten completions each, and the first 24 problems of "
    "HumanEval with one. Where nothing can be confined, nothing is executed and the rows have no pass@k.",
)
ANSWERS = Experiment(
    id="answers",
    title="Answers under other selections",
    question="Do answers to generated two-hop questions suffer less under Lynx than under a smaller "
    "static k?",
    arms=(arm_of_trial("mixtral", "8 experts, top-2", "loss_free", ("model.num_experts", 8)),),
    settings=(
        ("corpus.name", "two_hop"),
        ("corpus.vocab_size", 580),
        ("longer", 4),
    ),
    trial=partial(
        trained_and_evaluated,
        tasks=tuple(TaskPlan(name=name, problems=16, at_tiny=2) for name in ("selection", "two_hop")),
        measures=task_measures.of_answers,
    ),
    trains=True,
    pairs=PAIRS,
    priority=5,
    note="Naming any country of the text gives 1/3. Static k, OEA and Lynx at batch 1 to 16; prompts have "
    "full routing in decoding.",
)
EVALUATIONS = (LONG_CONTEXT, SELECTION, CODE, COMPLETIONS, ANSWERS)
