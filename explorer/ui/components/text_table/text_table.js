// A table of texts. Cells are exchanged in place, so it keeps its scroll position and what is selected in it.

/** As many children of this kind as there are texts, each with its text. */
function fill(row, texts, makeCell) {
  while (row.children.length > texts.length) row.lastElementChild.remove();
  for (const [i, text] of texts.entries()) {
    const cell = row.children[i] ?? row.appendChild(makeCell(i));
    if (cell.textContent !== text) cell.textContent = text;
  }
}

function heading(scope) {
  const cell = document.createElement("th");
  cell.scope = scope;
  return cell;
}

export default function mount({ parentElement, data }) {
  const box = parentElement.querySelector(".box");
  const [table, head, body] = ["table", "thead tr", "tbody"].map((name) => box.querySelector(name));
  table.setAttribute("aria-label", data.alt);
  table.classList.toggle("stacks", data.stacks);
  box.style.maxHeight = data.max_height === null ? "" : `${data.max_height}px`;
  fill(head, data.columns, () => heading("col"));
  for (const [i, text] of data.tips.entries()) {
    if (text) head.children[i].title = text;
    else head.children[i].removeAttribute("title");
  }
  while (body.children.length > data.rows.length) body.lastElementChild.remove();
  for (const [i, texts] of data.rows.entries()) {
    const row = body.children[i] ?? body.appendChild(document.createElement("tr"));
    fill(row, texts, (j) => (j === 0 ? heading("row") : document.createElement("td")));
    for (const [j, name] of data.columns.entries()) row.children[j].dataset.column = name;
  }
  // A box that scrolls is reached by the keyboard.
  if (data.max_height !== null) box.tabIndex = 0;
}
