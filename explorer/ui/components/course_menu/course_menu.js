// Redirects a click on the menu entry of the open page to a link in the page that leads to its plain address.

const ENTRIES = '[data-testid="stTopNavLink"], [data-testid="stSidebarNavLink"]';

/** Whether a click asks for this page in this tab: with a modifier key, browsers open another tab. */
function isForThisPage(event, entry) {
  const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  return isPlain && entry?.pathname === location.pathname;
}

export default function follow({ data }) {
  const redirect = (event) => {
    const entry = event.target.closest?.(ENTRIES);
    const link = document.querySelector(`.st-key-${CSS.escape(data.link)} a`);
    if (!link || !isForThisPage(event, entry)) return;
    event.preventDefault();
    event.stopPropagation();
    link.click();
  };
  document.addEventListener("click", redirect, { capture: true });
  return () => document.removeEventListener("click", redirect, { capture: true });
}
