"""Charts of the runs behind a claim: few arms have an entry each, of many only those that the claim names."""

import polars as pl

from explorer.charts.evidence_runs import MOST_ARMS, OTHERS, course, folded, plane


def frame(arms: int) -> pl.DataFrame:
    """Two runs of each arm."""
    rows = [
        (f"arm {arm}", "loss_free", "global", seed, 0.1 * arm, 4.0 + seed, str((arm, seed)), 2.0)
        for arm in range(arms)
        for seed in range(2)
    ]
    names = ("arm", "family", "scope", "seed", "max_vio", "lm_loss", "run", "share")
    return pl.DataFrame(rows, schema=names, orient="row")


def test_few_arms_keep_their_names() -> None:
    assert folded(frame(MOST_ARMS), ["arm 1"])["arm"].n_unique() == MOST_ARMS


def test_of_many_arms_the_named_ones_keep_theirs_and_no_run_is_lost() -> None:
    result = folded(frame(MOST_ARMS + 1), ["arm 1", "arm 4"])
    assert set(result["arm"]) == {"arm 1", "arm 4", OTHERS}
    assert result["name"].n_unique() == MOST_ARMS + 1
    assert result.height == 2 * (MOST_ARMS + 1)
    # Drawn first, so that they lie below.
    assert result["arm"][0] == OTHERS


def test_the_legend_ends_with_the_other_arms() -> None:
    for chart in (plane, course):
        spec = chart(frame(MOST_ARMS + 1), ["arm 1", "arm 4"]).to_dict()
        encodings = [layer["encoding"] for layer in spec.get("layer", [spec])]
        domains = [one["color"]["scale"]["domain"] for one in encodings]
        assert all(domain == ["arm 1", "arm 4", OTHERS] for domain in domains)
