/**
 * Lets Vega charts take part in the page's state (`page_state.js`).
 *
 * A chart that Streamlit draws can be reached from outside in one way only, Vega's direct binding (`bind:
 * {element, event}`): the chart reads and writes the `value` of an element and an event says that it has
 * changed. The elements are those that every page has before any chart is made: body (playhead), html
 * (expert under the pointer) and head (clicked point); `explorer/charts/{theme,linking}.py` name them. This
 * module keeps their values equal to the topics; no other script reads or writes them.
 */

import { hoveredExpert, picks, playhead } from "./page_state.js";

const mirrored = new Set();

/** From now on charts that bind the body at this event follow the playhead. */
export function mirrorPlayhead(event) {
  if (mirrored.has(event)) return;
  mirrored.add(event);
  playhead.subscribe((step) => {
    document.body.value = step === null ? "" : String(step);
    document.body.dispatchEvent(new Event(event));
  });
}

/**
 * Charts that bind html at the event `scope` and `hoveredExpert(scope)` follow each other, until the
 * returned call.
 */
export function linkHoveredExpert(scope) {
  const root = document.documentElement;
  const topic = hoveredExpert(scope);
  let isFromChart = false;
  const onChart = () => {
    isFromChart = true;
    topic.publish(Number.isInteger(root.value) ? root.value : null);
    isFromChart = false;
  };
  const unsubscribe = topic.subscribe((expert) => {
    if (isFromChart) return;
    root.value = expert;
    root.dispatchEvent(new Event(scope));
  });
  root.addEventListener(scope, onChart);
  return () => {
    unsubscribe();
    root.removeEventListener(scope, onChart);
  };
}

/** Events by which charts have been given such rows. */
const mirroredEvents = new Set();

/** The events of a chart's rows: its playhead has one of its own. */
function eventsOf(chart, { playhead: head, ...rows }) {
  const events = head ? [`moe-rows:${chart}:playhead`] : [];
  return Object.keys(rows).length > 0 ? [...events, `moe-rows:${chart}`] : events;
}

/**
 * Rows that take the place of a chart's own, chart -> part -> column -> values; null: every chart shows its
 * own again.
 * `explorer/charts/dragged.py` binds the charts to the head, each at events of its own.
 */
export function mirrorRows(frames) {
  const { head } = document;
  const events = Object.entries(frames ?? {}).flatMap(([chart, rows]) => eventsOf(chart, rows));
  for (const event of events) mirroredEvents.add(event);
  head.value = frames ?? "";
  for (const event of frames ? events : mirroredEvents) head.dispatchEvent(new Event(event));
  if (!frames) mirroredEvents.clear();
}

/** `expert@step` as a chart writes it, or null. */
export function parsePick(value) {
  const parts = /^(\d+)@(\d+)$/.exec(value || "");
  return parts && { expert: Number(parts[1]), step: Number(parts[2]) };
}

/** Clicks on charts that bind the head at this event become `picks`, until the returned call. */
export function relayPicks(event) {
  const { head } = document;
  const onChart = () => {
    const pick = parsePick(head.value);
    if (!pick) return;
    // The chart forgets it, so that the same point can be clicked again.
    setTimeout(() => {
      head.value = "";
      head.dispatchEvent(new Event(event));
    });
    picks.publish(pick);
  };
  head.addEventListener(event, onChart);
  return () => head.removeEventListener(event, onChart);
}
