// The component that lets charts follow a slider; it draws nothing itself.

import { Follower } from "./follower.js";

const mounted = new WeakMap();

export default function mount({ parentElement, data }) {
  let follower = mounted.get(parentElement);
  if (!follower) {
    follower = new Follower();
    mounted.set(parentElement, follower);
  }
  follower.update(data);
  return () => {
    follower.stop();
    mounted.delete(parentElement);
  };
}
