// The component of the token text: what Streamlit calls at every change.

import { TokenText } from "./text.js";

const mounted = new WeakMap();

export default function mount(component) {
  const root = component.parentElement;
  let text = mounted.get(root);
  if (!text?.box.isConnected) {
    text = new TokenText(root);
    mounted.set(root, text);
  }
  text.update(component);
  return () => mounted.delete(root);
}
