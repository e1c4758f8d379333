// Waits until the playhead has come to rest and tells Python its step: what is worth a look, but not worth
// slowing every move down, is then brought up to date on its own. Draws nothing, or the step in words.

const REST_MS = 60;
const resting = new WeakMap();

export default function (component) {
  const root = component.parentElement;
  let state = resting.get(root);
  if (!state) {
    state = { timer: 0, sent: null };
    resting.set(root, state);
    const isPlaying = () => {
      const shared = globalThis[Symbol.for("moe-routing-explorer.player")];
      return shared ? [...shared.players.values()].some((player) => player.playing) : false;
    };
    const rested = () => {
      if (isPlaying()) return void (state.timer = setTimeout(rested, REST_MS));
      const step = Number(document.body.value);
      // Once is enough: Python may have a reason to show another step.
      if (Number.isInteger(step) && step !== state.known && step !== state.sent) {
        state.sent = step;
        state.component.setTriggerValue("rested", step);
      }
    };
    state.moved = () => {
      const word = root.querySelector("output");
      if (word && document.body.value !== undefined) word.textContent = `step ${document.body.value}`;
      if (!state.component.data.report) return;
      clearTimeout(state.timer);
      state.timer = setTimeout(rested, REST_MS);
    };
    document.body.addEventListener(component.data.event, state.moved);
  }
  state.component = component;
  state.known = component.data.step;
  if (state.sent === state.known) state.sent = null;
  state.moved();
  return () => {
    clearTimeout(state.timer);
    document.body.removeEventListener(component.data.event, state.moved);
    resting.delete(root);
  };
}
