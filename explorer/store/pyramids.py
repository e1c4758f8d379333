"""Definition of the roll-ups: pyramids of bins over the ordinal of the sample.

They make a view's cost independent of the run's length. Level k has bins of 4^k samples; the pyramid of the
experts' loads begins at 16 samples, since bins of four would be half of what an ingest costs. A bin keeps
counts, sums, minima, maxima and last values, all of which merge exactly: several rows of one bin are one bin
in pieces, and readers group by bin. Only whole groups of `ALIGN` samples are rolled up; the few samples after
them are read from the table itself. A run of at most `ROLL_FROM` samples has no roll-ups, since a view can
read its rows.
"""

from dataclasses import dataclass, replace

from explorer.records.tables import EXPERT, LAYER, RUN_ID, Column

LEVELS = 8
"""Up to bins of 65,536 samples: 1,200 bins then span 78 million samples."""
ALIGN = 64
ROLL_FROM = 1024
MEAN_LAYER = -1
"""The layer number that denotes the mean over layers in `layer_bins`."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One column of a bin: its value for a single sample, and how pieces of a bin merge."""

    column: Column
    single: str
    merge: str


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """One table of bins, and its source rows."""

    table: str
    counted: str
    """The table whose samples are numbered: expert_loads or steps."""
    keys: tuple[Column, ...]
    source: str
    """SQL of its source rows, `$start <= ordinal < $stop`, with the columns step, ordinal and keys."""
    measures: tuple[Measure, ...]
    finest: int = 1
    """The lowest level that is stored."""
    narrow_source: str = ""
    """The same source rows without the column `share`, which needs a join; empty: there is no such column."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the table of bins, `run_id` first."""
        level = Column("level", "INTEGER", "level k of the pyramid: a bin spans 4^k samples", key=True)
        number = Column("bin", "INTEGER", "ordinal of its samples divided by 4^level", key=True)
        return (RUN_ID, level, *self.keys, number, *(m.column for m in self.measures))

    @property
    def key_names(self) -> tuple[str, ...]:
        """Names of the columns that identify a series, such as layer and expert."""
        return tuple(column.name for column in self.keys)

    def only(self, *values: str) -> "Pyramid":
        """The same bins with the measures of some values: planning every measure takes longer than reading a
        few.
        """
        measures = tuple(m for m in self.measures if m in SPAN or m.column.name.startswith(values))
        narrow = bool(self.narrow_source) and "share" not in values
        return replace(self, measures=measures, source=self.narrow_source if narrow else self.source)

    def singles(self) -> str:
        """Select list that turns one sample into a bin."""
        return ", ".join([*self.key_names, *(f"{m.single} AS {m.column.name}" for m in self.measures)])

    def merges(self) -> str:
        """Select list that merges several rows into one bin; to be grouped by bin and keys."""
        parts = (f"({m.merge})::{m.column.sql_type} AS {m.column.name}" for m in self.measures)
        return ", ".join([*self.key_names, *parts])

    def names(self) -> str:
        """The columns of `singles` and `merges` by name."""
        return ", ".join([*self.key_names, *(m.column.name for m in self.measures)])

    def pieces(self, where: str = "true", *, stored: bool = True, fresh: bool = True) -> str:
        """SQL of the source rows of a view's bins, not yet merged.

        where: a condition on the keys. stored: whether to read the table of bins, with the parameters run_id,
        level and factor (bins of the level per bin of the view). fresh: whether to read the samples that it
        does not cover, or all of them if not stored, with run_id, width (samples per bin of the view) and, if
        stored, rolled. Planning a part takes longer than finding it empty, so a view leaves out what it can.
        """
        parts = []
        if stored:
            parts.append(
                f"SELECT (bin // $factor)::BIGINT AS bin, {self.names()} FROM {self.table} "
                f"WHERE run_id = $run_id AND level = $level AND {where}"
            )
        if fresh:
            source = self.source.replace("AND ordinal < $stop", "")
            source = (
                source.replace("$start", "$rolled") if stored else source.replace("AND ordinal >= $start", "")
            )
            parts.append(
                f"SELECT (ordinal // $width)::BIGINT AS bin, {self.singles()} FROM ({source}) WHERE {where}"
            )
        return " UNION ALL ".join(parts)

    def merged(self, pieces: str) -> str:
        """SQL of a view's bins, one row per bin and key, from that of their pieces."""
        by = ", ".join(("bin", *self.key_names))
        return f"SELECT bin, {self.merges()} FROM ({pieces}) GROUP BY {by}"


def _sum_min_max(value: str, what: str) -> tuple[Measure, ...]:
    """Count, sum, minimum and maximum of a nullable value."""
    return (
        Measure(
            column=Column(f"{value}_count", "BIGINT", f"samples with {what}"),
            single=f"({value} IS NOT NULL)::BIGINT",
            merge=f"sum({value}_count)",
        ),
        Measure(
            column=Column(f"{value}_sum", "DOUBLE", f"sum of {what}"),
            single=f"{value}::DOUBLE",
            merge=f"sum({value}_sum)",
        ),
        *_min_max(value, "DOUBLE", what),
    )


def _finite_sum_min_max(value: str, what: str) -> tuple[Measure, ...]:
    """The same over the finite values, with the count of non-finite ones: one NaN would dominate the sum and
    the maximum of its bin, and of every bin above it.
    """
    finite = f"CASE WHEN isfinite({value}) THEN {value} END"
    return (
        *(replace(m, single=m.single.replace(value, finite)) for m in _sum_min_max(value, f"{what}, finite")),
        Measure(
            column=Column(f"{value}_not_finite", "BIGINT", f"samples with {what} that is NaN or infinite"),
            single=f"coalesce(NOT isfinite({value}), false)::BIGINT",
            merge=f"sum({value}_not_finite)",
        ),
    )


def _min_max(value: str, sql_type: str, what: str) -> tuple[Measure, ...]:
    return tuple(
        Measure(
            column=Column(f"{value}_{end}", sql_type, f"{word} {what}"),
            single=f"{value}::{sql_type}",
            merge=f"{end}({value}_{end})",
        )
        for end, word in (("min", "least"), ("max", "largest"))
    )


def _last(value: str, sql_type: str, what: str) -> Measure:
    return Measure(
        column=Column(f"{value}_last", sql_type, f"{what} at the last sample that has it"),
        single=f"{value}::{sql_type}",
        merge=f"arg_max({value}_last, last_step)",
    )


SPAN = (
    Measure(
        column=Column("first_step", "BIGINT", "first step in the bin"), single="step", merge="min(first_step)"
    ),
    Measure(
        column=Column("last_step", "BIGINT", "last step in the bin"), single="step", merge="max(last_step)"
    ),
    Measure(
        column=Column("samples", "BIGINT", "recorded steps in the bin"),
        single="1::BIGINT",
        merge="sum(samples)",
    ),
)

LOADS = Pyramid(
    table="load_bins",
    counted="expert_loads",
    finest=2,
    keys=(LAYER, EXPERT),
    source="""
        SELECT s.step, s.ordinal, s.layer, s.expert, s.tokens, s.expert_bias AS bias,
               s.tokens / nullif(m.tokens, 0) AS share
        FROM (SELECT * FROM expert_loads WHERE run_id = $run_id AND ordinal >= $start AND ordinal < $stop) s
        JOIN (SELECT layer, ordinal, tokens FROM layer_metrics
              WHERE run_id = $run_id AND ordinal >= $start AND ordinal < $stop) m
        ON m.layer = s.layer AND m.ordinal = s.ordinal
    """,
    narrow_source="""
        SELECT step, ordinal, layer, expert, tokens, expert_bias AS bias
        FROM expert_loads WHERE run_id = $run_id AND ordinal >= $start AND ordinal < $stop
    """,
    measures=(
        *SPAN,
        Measure(
            column=Column("tokens_sum", "BIGINT", "sum of tokens"), single="tokens", merge="sum(tokens_sum)"
        ),
        *_min_max("tokens", "BIGINT", "tokens"),
        *_min_max("share", "DOUBLE", "share of the layer's tokens in a step; NULL where it has none"),
        *_finite_sum_min_max("bias", "a bias"),
        _last("bias", "DOUBLE", "bias"),
    ),
)

_OF_LAYERS = """
    SELECT step, ordinal, layer, max_vio, effective_experts, coefficient_of_variation, total_variation,
           idle_experts, bias_spread, max_vio_mean100, tokens
    FROM layer_metrics WHERE run_id = $run_id AND ordinal >= $start AND ordinal < $stop
"""
_MEANS = f"""
    SELECT step, ordinal, {MEAN_LAYER} AS layer,
           CASE WHEN count(max_vio) = count(*) THEN avg(max_vio) END AS max_vio,
           avg(effective_experts) AS effective_experts,
           avg(coefficient_of_variation) AS coefficient_of_variation,
           avg(total_variation) AS total_variation, avg(idle_experts) AS idle_experts,
           avg(bias_spread) AS bias_spread, avg(max_vio_mean100) AS max_vio_mean100, avg(tokens) AS tokens
    FROM layer_metrics WHERE run_id = $run_id AND ordinal >= $start AND ordinal < $stop
    GROUP BY step, ordinal
"""

LAYERS = Pyramid(
    table="layer_bins",
    counted="expert_loads",
    keys=(LAYER,),
    source=f"{_OF_LAYERS} UNION ALL {_MEANS}",
    measures=(
        *SPAN,
        *_sum_min_max("max_vio", "MaxVio"),
        *_sum_min_max("effective_experts", "effective experts"),
        *_sum_min_max("coefficient_of_variation", "a coefficient of variation"),
        *_sum_min_max("total_variation", "a total variation"),
        *_sum_min_max("idle_experts", "idle experts"),
        *_finite_sum_min_max("bias_spread", "a bias spread"),
        _last("max_vio_mean100", "DOUBLE", "mean MaxVio of 100 samples"),
        Measure(
            column=Column("tokens_sum", "DOUBLE", "sum of the assignments of a layer"),
            single="tokens::DOUBLE",
            merge="sum(tokens_sum)",
        ),
    ),
)

STEPS = Pyramid(
    table="step_bins",
    counted="steps",
    keys=(),
    source="""
        SELECT step, ordinal, lm_loss, aux_loss, tokens_seen, wall_time_s
        FROM steps WHERE run_id = $run_id AND ordinal >= $start AND ordinal < $stop
    """,
    measures=(
        *SPAN,
        *_finite_sum_min_max("lm_loss", "a language loss"),
        *_finite_sum_min_max("aux_loss", "an auxiliary loss"),
        _last("tokens_seen", "BIGINT", "tokens_seen"),
        _last("wall_time_s", "DOUBLE", "wall_time_s"),
    ),
)

PYRAMIDS = (LOADS, LAYERS, STEPS)


def layer_pyramid(layer: int) -> Pyramid:
    """`LAYERS` for a view of one layer, or of MEAN_LAYER: it plans only the rows that it reads."""
    return replace(LAYERS, source=_MEANS if layer == MEAN_LAYER else _OF_LAYERS)
