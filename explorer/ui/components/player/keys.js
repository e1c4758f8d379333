// The keyboard: on the heatmap, on the whole page, and the list of the keys.

import { nextEvent } from "./playback.js";

// What needs a key for itself keeps it: all keys, those that press it, or those that move within it.
const TYPED_IN =
  "input:not([type=checkbox], [type=radio], [type=button], [type=range]), textarea, select, " +
  "[contenteditable]:not([contenteditable=false]), [role=textbox], [role=searchbox], [role=combobox], " +
  "[role=spinbutton], [role=listbox], [role=menu], [role=grid], [role=dialog], dialog";
const PRESSED =
  "button, a[href], summary, input, [role=button], [role=link], [role=checkbox], [role=switch], [role=tab], " +
  "[role=radio], [role=option]";
const MOVED_IN = "input, [role=slider]:not(.stage), [role=radio], [role=tab], [role=tree], [role=toolbar]";
const MOVES = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

function isTaken(event) {
  const path = event.composedPath().filter((node) => node instanceof Element);
  const within = (names) => path.some((element) => element.matches(names));
  if (within(TYPED_IN) || document.querySelector("[role=dialog][aria-modal=true], dialog[open]")) return true;
  if (event.key === " ") return within(PRESSED);
  return MOVES.has(event.key) && within(MOVED_IN);
}

function isShortcut(event) {
  return event.ctrlKey || event.metaKey || event.altKey;
}

/** Returns the function that takes the listeners off the page again. */
export function listenToKeys(player) {
  const { stage, help, list, close } = player.parts;
  stage.onkeydown = (event) => {
    if (!isShortcut(event) && moveBy(player, event)) event.preventDefault();
  };
  stage.onkeyup = (event) => {
    if (reportMove(player)) event.preventDefault();
  };
  stage.onblur = () => reportMove(player);
  help.onclick = () => list.showModal();
  close.onclick = () => list.close();
  // A click beside the list closes it: only then the dialog itself is the target.
  list.onclick = (event) => event.target === list && list.close();
  const onKey = (event) => pageKey(player, event);
  const onKeyUp = () => reportMove(player);
  document.addEventListener("keydown", onKey);
  document.addEventListener("keyup", onKeyUp);
  return () => {
    document.removeEventListener("keydown", onKey);
    document.removeEventListener("keyup", onKeyUp);
  };
}

/** A held key moves the playhead many times and reports once, on release. */
function reportMove(player) {
  if (!player.moving) return false;
  player.moving = false;
  player.report();
  return true;
}

/** The column that a key leads to, or undefined. */
function columnFor({ column, matrix }, { key, shiftKey }) {
  const stride = shiftKey ? 10 : 1;
  const page = Math.max(1, Math.round(matrix.columns / 10));
  const columns = {
    ArrowLeft: column - stride,
    ArrowRight: column + stride,
    PageDown: column - page,
    PageUp: column + page,
    Home: 0,
    End: matrix.columns - 1,
  };
  return columns[key];
}

/** Whether the key means something on the heatmap. */
function moveBy(player, event) {
  const column = columnFor(player, event);
  if (event.key === " ") {
    if (!event.repeat) player.toggle();
    return true;
  }
  if (column !== undefined) player.go(column);
  else if (event.key === "ArrowUp") chooseRow(player, -1);
  else if (event.key === "ArrowDown") chooseRow(player, 1);
  else return false;
  player.moving = true;
  return true;
}

/** By rows as they are shown, whatever their order. */
function chooseRow(player, by) {
  const row = player.expert === null ? 0 : player.rowOf[player.expert] + by;
  const place = Math.max(0, Math.min(player.rows.length - 1, row));
  player.choose(player.matrix.expertOf(player.column, player.rows[place]));
}

function pageKey(player, event) {
  if (!player.settings?.keys || event.defaultPrevented || !player.matrix.columns) return;
  if (isShortcut(event) || isTaken(event)) return;
  if (actOn(player, event)) event.preventDefault();
}

/** Whether the key means something on the page. */
function actOn(player, event) {
  const letter = event.key.toLowerCase();
  if (event.key === "?") player.parts.list.showModal();
  else if (letter === "j") player.layerKeys.change(1);
  else if (letter === "k") player.layerKeys.change(-1);
  else if (event.key === "[") jumpBy(player, -1);
  else if (event.key === "]") jumpBy(player, 1);
  else return (event.key === " " || MOVES.has(event.key)) && moveBy(player, event);
  return true;
}

function jumpBy(player, by) {
  const event = nextEvent(player.matrix, player.events, player.column, by);
  if (event) player.jump(event);
}
