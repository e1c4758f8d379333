// Starts a component whose ES modules came along as text: `modules.py` writes MODULES and ENTRY above these
// lines. A module becomes a Blob with its own URL, and its imports name the URLs of the modules before it.
// The table of URLs belongs to the page, and a URL is one module to the browser: components that import the
// same text share an instance.

const TABLE = Symbol.for("moe-routing-explorer.modules");
globalThis[TABLE] ??= new Map();
const urls = globalThis[TABLE];

for (const { id, source } of MODULES) {
  if (urls.has(id)) continue;
  const text = source.map((part) =>
    typeof part === "string" ? part : JSON.stringify(urls.get(part.module)),
  );
  urls.set(id, URL.createObjectURL(new Blob(text, { type: "text/javascript" })));
}

const { default: mount } = await import(urls.get(ENTRY));
export default mount;
