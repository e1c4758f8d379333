// Carries step and expert from Python to the player of the same id, and nothing else: a message of a few
// bytes instead of the matrix. If the player is not there yet, it finds the message waiting.

import { dialogues, waiting } from "./registry.js";

export default function mount(component) {
  const { id, ...message } = component.data;
  const dialogue = dialogues.get(id);
  if (dialogue) dialogue.hear(message);
  else waiting.set(id, message);
}
