// Waits until the playhead has come to rest and tells Python its step: what is worth a look, but not worth
// slowing every move down, is then brought up to date on its own. Draws nothing, or the step in words.

const REST_MS = 60;
// A busy server may lose a report that another one follows at once; it is then told again, twice at most.
const AGAIN_MS = 2000;
const TRIES = 3;
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
    const tell = (step, nth) => {
      state.component.setTriggerValue("rested", step);
      if (nth < TRIES) {
        state.timer = setTimeout(() => state.sent === step && state.known !== step && tell(step, nth + 1), AGAIN_MS);
      }
    };
    const rested = () => {
      if (isPlaying()) return void (state.timer = setTimeout(rested, REST_MS));
      const step = Number(document.body.value);
      // Once is enough: Python may have a reason to show another step.
      if (Number.isInteger(step) && step !== state.known && step !== state.sent) {
        state.sent = step;
        tell(step, 1);
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
