"""Plausibility checks of a file's biases: zero, constant, rounded to bfloat16, or of the wrong sign;
and the update rate that they imply. A step's bias is assumed to be the one used in it, before its update.
"""

import numpy as np

from explorer.importers.report import Report
from explorer.importers.trace import Counts, Floats, LoadStep
from explorer.wording import counted, percent

FEW = 200
"""Minimum number of bias updates for a conclusion from their signs."""
AGREEMENT = 0.9
"""Share of updates in the loss-free direction from which the update is attributed to that rule."""
ROUNDED = 1e-6


class BiasChecks:
    """Sums over the steps that have a bias."""

    def __init__(self) -> None:
        self._steps = 0
        self._nonzero = self._uneven = self._moving = False
        self._finite = self._is_bf16 = True
        self._before: tuple[int, Floats, Counts] | None = None
        self._along = self._against = 0
        self._smallest, self._largest = np.inf, 0.0

    def add(self, step: LoadStep) -> None:
        """Add one step; one without a bias ends an episode."""
        bias_LE = step.expert_bias_LE
        if bias_LE is None:
            self._before = None
            return
        self._steps += 1
        self._finite &= bool(np.isfinite(bias_LE).all())
        self._nonzero |= bool(bias_LE.any())
        self._uneven |= bool((bias_LE != bias_LE[:, :1]).any())
        bits = np.ascontiguousarray(bias_LE, dtype=np.float32).view(np.uint32)
        self._is_bf16 &= not (bits & 0xFFFF).any()
        if self._before is not None:
            self._add_move(step.step, bias_LE)
        self._before = (step.step, bias_LE, step.tokens_LE)

    def _add_move(self, step: int, bias_LE: Floats) -> None:
        before, old_LE, tokens_LE = self._before  # type: ignore[misc]
        move_LE = bias_LE.astype(np.float64) - old_LE
        self._moving |= bool(move_LE.any())
        error_LE = tokens_LE.mean(axis=1, keepdims=True) - tokens_LE
        agreement = np.sign(move_LE) * np.sign(error_LE)
        self._along += int((agreement > 0).sum())
        self._against += int((agreement < 0).sum())
        sizes = np.abs(move_LE[np.abs(move_LE) > ROUNDED]) / max(1, step - before)
        if sizes.size:
            self._smallest = min(self._smallest, float(sizes.min()))
            self._largest = max(self._largest, float(sizes.max()))

    def report(self, report: Report) -> None:
        """Add the results to the report."""
        if not self._steps:
            return
        report.assumption(
            "bias_moment",
            "The bias of a step is taken as the one used in that step, before its update.",
            steps=self._steps,
        )
        if not self._finite:
            report.warning("bias_not_finite", "Some biases are NaN or infinite.")
        elif not self._nonzero:
            report.warning(
                "bias_zero",
                f"All biases are exactly 0 in {counted(self._steps, 'step')}: the bias was never updated, or "
                "dropped on loading.",
                steps=self._steps,
            )
        else:
            self._report_values(report)
            self._report_signs(report)

    def _report_values(self, report: Report) -> None:
        if not self._uneven:
            report.warning(
                "bias_constant",
                "Within each layer all experts have one bias, which changes no selection.",
                steps=self._steps,
            )
        elif not self._moving and self._steps > 1:
            report.warning(
                "bias_frozen",
                f"The biases are the same in all {self._steps:,} steps: updates are frozen or were lost.",
                steps=self._steps,
            )
        if self._is_bf16:
            report.warning(
                "bias_bf16",
                "Every bias fits bfloat16 exactly: it was rounded to 8 bits somewhere, which merges biases "
                "that differ and stalls small updates. Keep it in float32.",
                steps=self._steps,
            )

    def _report_signs(self, report: Report) -> None:
        moves = self._along + self._against
        if moves < FEW:
            return
        share = self._along / moves
        if share <= 1 - AGREEMENT:
            report.warning(
                "bias_sign",
                f"In {percent(1 - share, 1)} of {moves:,} moves the bias rose where the load was above the "
                "mean and fell where it was below: the sign contradicts the loads. Either the update is "
                "wrong, or the file stores the bias as something that is subtracted.",
                moves=moves,
                along=self._along,
                against=self._against,
            )
        elif share >= AGREEMENT:
            ratio = round(self._largest / self._smallest) if self._smallest < np.inf else 1
            report.note(
                "bias_rate",
                f"{percent(share, 1)} of {moves:,} moves follow the loss-free rule; the smallest move per "
                f"step is {self._smallest:.3g}, the largest {self._largest:.3g}: u = {self._smallest:.3g} "
                f"with up to {counted(ratio, 'update')} per step, or a rule that scales its moves.",
                moves=moves,
                smallest_move=self._smallest,
                largest_move=self._largest,
            )
