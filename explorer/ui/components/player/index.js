// The player's component: what Streamlit calls at every change.

import { Player } from "./player.js";
import { countMount } from "./registry.js";

const mounted = new WeakMap();

export default function mount(component) {
  const root = component.parentElement;
  let player = mounted.get(root);
  if (!player?.box.isConnected) {
    player = new Player(root);
    mounted.set(root, player);
    countMount();
  }
  player.update(component);
  return () => {
    player.leave();
    mounted.delete(root);
  };
}
