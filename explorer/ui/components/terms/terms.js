// Text with headings that links lead to. It is part of the page, so the browser finds words and follows links in it.

/** Go to the heading that the address names: it was not there when the page was opened. */
function follow(box) {
  const name = decodeURIComponent(location.hash.slice(1));
  const target = name && box.querySelector(`#${CSS.escape(name)}`);
  if (target) target.scrollIntoView();
}

export default function mount({ parentElement, data }) {
  const box = parentElement.querySelector(".glossary-terms");
  if (box.childElementCount) return;
  box.innerHTML = data.html;
  follow(box);
}
