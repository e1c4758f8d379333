// The loads at the playhead as bars beside the heatmap.

import { rampIndex } from "../shared/colours.js";

export function drawBars(context, view) {
  const { matrix, at, theme } = view;
  const { limit } = view.settings;
  if (!at.bars) return;
  const top = 2 ** limit;
  const row = at.tall / view.rows.length;
  const pad = row >= 6 ? Math.min(3, row * 0.14) : 0;
  const scale = (at.bars - 34) / top;
  const unit = at.barsLeft + scale;
  for (let r = 0; r < view.rows.length; r++) {
    const e = view.rows[r];
    const ratio = matrix.ratioOf(view.column, e);
    const y = at.top + r * row + pad;
    const tall = Math.max(1, row - 2 * pad);
    if (matrix.totals[view.column] === 0) continue;
    if (matrix.tokensOf(view.column, e) === 0) {
      context.fillStyle = theme.deadText;
      context.fillRect(at.barsLeft, y, 3, tall);
      continue;
    }
    const wide = Math.min(ratio, top) * scale;
    context.fillStyle = theme.rampText[rampIndex(ratio, limit)];
    context.fillRect(at.barsLeft, y, wide, tall);
    context.globalAlpha = 0.55;
    context.fillStyle = theme.ink;
    context.fillRect(at.barsLeft + wide - 1, y, 1.5, tall);
    context.globalAlpha = 1;
    if (ratio > top) {
      context.font = theme.small;
      context.textAlign = "left";
      context.textBaseline = "middle";
      if (row >= 9)
        context.fillText(`×${ratio.toFixed(ratio < 10 ? 1 : 0)}`, at.barsLeft + wide + 4, y + tall / 2);
      else context.fillRect(at.barsLeft + wide + 3, y + tall / 2 - 1, 5, 2);
    }
    if (e === view.expert) {
      context.strokeStyle = theme.ink;
      context.lineWidth = 1;
      context.strokeRect(at.barsLeft - 0.5, y - 0.5, wide + 1, tall + 1);
    }
  }
  drawBarAxis(context, view, unit, scale, top);
}

function drawBarAxis(context, view, unit, scale, top) {
  const { at, theme } = view;
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(at.barsLeft - 0.5, at.top);
  context.lineTo(at.barsLeft - 0.5, at.top + at.tall);
  context.stroke();
  context.strokeStyle = theme.ink;
  context.setLineDash([4, 3]);
  context.beginPath();
  context.moveTo(unit, at.top - 3);
  context.lineTo(unit, at.top + at.tall);
  context.stroke();
  context.setLineDash([]);
  context.font = theme.bold;
  context.fillStyle = theme.ink;
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  context.fillText("uniform", Math.max(unit, at.barsLeft + 22), at.top - at.lift);
  context.font = theme.font;
  context.fillStyle = theme.quiet;
  context.textBaseline = "top";
  for (let power = 1; power <= top; power *= 2) {
    if (power > 1 && power < top && scale * power < 30) continue;
    const mark = power === top ? `≥ ×${power}` : `×${power}`;
    context.fillText(mark, at.barsLeft + power * scale, at.top + at.tall + 8);
  }
}
