// How a token is written and said: blanks are visible, and every chip has a name for those who hear it.

const BLANKS = { " ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥" };
const NAMES = { " ": "space", "\n": "line break", "\r": "carriage return", "\t": "tab" };

/** The text with its blanks as faint signs; as nodes, so that no token is ever read as markup. */
export function written(text) {
  const nodes = [];
  let run = "";
  const flush = () => {
    if (run) nodes.push(document.createTextNode(run));
    run = "";
  };
  for (const letter of text || "∅") {
    const sign = BLANKS[letter];
    if (!sign) {
      run += letter;
      continue;
    }
    flush();
    nodes.push(Object.assign(document.createElement("span"), { className: "blank", textContent: sign }));
  }
  flush();
  return nodes;
}

/** " the" -> "space the": a screen reader skips bare blanks. */
export function spoken(text) {
  const words = [];
  let run = "";
  for (const letter of text) {
    const name = letter === "\ufffd" ? "part of a letter" : NAMES[letter];
    if (!name) {
      run += letter;
      continue;
    }
    if (run) words.push(run);
    run = "";
    words.push(name);
  }
  if (run) words.push(run);
  return words.join(" ") || "empty";
}

export function expertWords(experts) {
  if (!experts.length) return "no expert";
  return experts.length === 1 ? `expert ${experts[0]}` : `experts ${experts.join(", ")}`;
}
