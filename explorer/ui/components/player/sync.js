// Carries step and expert from Python to the player of the same id, and nothing else: a message of
// a few bytes instead of the matrix. If the player is not there yet, it finds the message waiting.

export default function (component) {
  const shared = (globalThis[Symbol.for("moe-routing-explorer.player")] ??= {
    players: new Map(),
    waiting: new Map(),
  });
  const { id, step, expert } = component.data;
  const player = shared.players.get(id);
  if (player) player.sync({ step, expert });
  else shared.waiting.set(id, { step, expert });
}
