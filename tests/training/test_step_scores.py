"""What a step measures of its scores stays a number where all of them underflow."""

from types import SimpleNamespace

import torch

from explorer.training import meters


def test_scores_that_underflow_leave_the_mean_normalised_score_a_number(monkeypatch) -> None:
    monkeypatch.setattr(meters, "threshold_routers", lambda model: [])
    # float32 sigmoids of logits below about -104 are exactly 0; the second token is an ordinary one.
    logits_TE = torch.tensor([[-110.0, -120.0, -130.0, -140.0], [0.0, 0.0, 0.0, 0.0]])
    layer = SimpleNamespace(
        routing=SimpleNamespace(scores_TE=torch.sigmoid(logits_TE), router_logits_TE=logits_TE),
        counts_BE=torch.ones(1, 4, dtype=torch.int64),
        dropped_BE=None,
        losses=SimpleNamespace(aux=None, z=None),
        observed=None,
    )
    measured = meters.StepMeters(is_sampled=False)
    measured.add(0, None, torch.tensor(1.0), [layer], None, None)  # type: ignore[arg-type, list-item]
    # The token without scores has no preference to add; the other one adds 1/4 of its half.
    assert measured.layer_sums[0]["mean_normalised_score"].tolist() == [[0.125] * 4]
