#!/bin/sh
# Trains the runs that ship in data/runs: 35 runs, two at a time, about an hour on two cores. A finished run is kept, so
# the script can be started again after a break. Usage: data/make_runs.sh [RUNS_DIR]
set -eu
runs=${1:-data/runs}
python=${PYTHON:-python}
compare() { "$python" -m explorer compare --preset standard --plain-ids --runs "$runs" "$@"; }

# The main comparison: four arms, five seeds. Seed 0 also keeps the router logits of the probe batch.
arms=none,aux_loss,aux_loss:scope=sequence,loss_free
compare --arms "$arms" --seeds 0 --set training.probe_tokens=1024
# A rule that changes half-way.
compare --arms none/400/loss_free --seeds 0 --set training.probe_tokens=1024
# The strength of the auxiliary loss, at both scopes (0.01 is above).
for coeff in 0.001 0.1 1 10; do
    compare --arms "aux_loss:coeff=$coeff,aux_loss:scope=sequence,coeff=$coeff" --seeds 0
done
# The update rate of the bias, ten times too small and ten times too large (0.003 is above).
compare --arms loss_free:u=0.0003,loss_free:u=0.03 --seeds 0
# The loss that cheats: raw sigmoid scores, which the loss can shrink without balancing anything.
compare --arms aux_loss:score_norm=raw,coeff=1 --seeds 0
# Other ways: a bias without a step size, experts that choose, and no experts at all.
compare --arms quantile,expert_choice,dense --seeds 0
compare --arms "$arms" --seeds 1,2,3,4
