// Text with headings that links lead to. It is part of the page, so the browser finds words and follows links in it.

/** Go to the heading that the address names: it was not there when the page was opened. */
export default function follow({ parentElement }) {
  const box = parentElement.querySelector(".glossary-terms");
  const name = decodeURIComponent(location.hash.slice(1));
  if (!name || box.dataset.followed) return;
  box.dataset.followed = name;
  box.querySelector(`#${CSS.escape(name)}`)?.scrollIntoView();
}
