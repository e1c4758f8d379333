"""What trained models can do: language tasks, long contexts, and other expert selections at evaluation.

`load_trained(run_folder)` gives a `TrainedModel`; every task takes one and returns a `TaskResult` whose
metrics derive from integer counts and sums. `registry.TASKS` has them by name; docs/evidence_tasks.md says
what each measures and where its limits are. Importing this package loads no torch.

Shape letters: see `explorer.model`; G groups of tokens that are served together, Q questions.
"""
