// Ctrl-K: every object by name, every page, and what can be done here.

/** @typedef {{title: string, kind: string, url?: string, run?: () => void, hint?: string}} Entry */

const dialog = /** @type {HTMLDialogElement | null} */ (document.getElementById("palette"));
const input = /** @type {HTMLInputElement | null} */ (dialog?.querySelector("input") ?? null);
const listbox = /** @type {HTMLElement | null} */ (dialog?.querySelector("[role=listbox]") ?? null);
/** @type {Entry[]} */ let entries = [];
let at = 0;
let asked = 0;

/** What this page offers by itself: its buttons, and the navigation. @returns {Entry[]} */
function local() {
  const buttons = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-palette]:not([disabled])")]);
  const seen = new Set();
  const here = buttons
    .map((button) => ({ title: button.dataset.palette ?? "", kind: "Action", run: () => button.click() }))
    .filter((entry) => !seen.has(entry.title) && seen.add(entry.title));
  const links = /** @type {HTMLAnchorElement[]} */ ([...document.querySelectorAll("[data-go]")]);
  return [...here, ...links.map((link) => ({ title: link.textContent?.trim() ?? "", kind: "Go to", url: link.href }))];
}

/** @param {string} text @param {string} query */
const fits = (text, query) => query.toLowerCase().split(/\s+/).every((word) => text.toLowerCase().includes(word));

async function search() {
  const query = input?.value.trim() ?? "";
  entries = local().filter((entry) => fits(`${entry.title} ${entry.kind}`, query)).slice(0, 8);
  at = 0;
  draw();
  if (!query || !dialog?.dataset.url) return;
  const ticket = ++asked;
  try {
    const answer = await fetch(`${dialog.dataset.url}?q=${encodeURIComponent(query)}`, { headers: { Accept: "application/json" } });
    const found = answer.ok ? await answer.json() : { items: [] };
    if (ticket !== asked) return; // a later key was pressed meanwhile
    entries = [...found.items, ...entries];
    draw();
  } catch {
    // the banner says that we are away; what the page offers by itself stays
  }
}

function draw() {
  if (!listbox || !input) return;
  listbox.replaceChildren(
    ...entries.map((entry, index) => {
      const option = document.createElement("div");
      option.id = `palette-${index}`;
      option.role = "option";
      option.ariaSelected = String(index === at);
      const title = document.createElement("span");
      title.textContent = entry.title;
      const kind = document.createElement("small");
      kind.textContent = entry.hint ? `${entry.kind} · ${entry.hint}` : entry.kind;
      option.append(title, kind);
      option.onclick = () => choose(index);
      return option;
    }),
  );
  if (!entries.length) {
    const nothing = document.createElement("p");
    nothing.className = "v-muted";
    nothing.textContent = "Nothing fits.";
    listbox.append(nothing);
  }
  input.setAttribute("aria-activedescendant", entries.length ? `palette-${at}` : "");
  listbox.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
}

/** @param {number} index */
function choose(index) {
  const entry = entries[index];
  if (!entry) return;
  dialog?.close();
  if (entry.run) entry.run();
  else if (entry.url) location.assign(entry.url);
}

function open() {
  if (!dialog || !input || dialog.open) return;
  input.value = "";
  dialog.showModal();
  void search();
}

input?.addEventListener("input", () => void search());
input?.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    at = (at + (event.key === "ArrowDown" ? 1 : -1) + entries.length) % Math.max(1, entries.length);
    draw();
  } else if (event.key === "Enter") {
    event.preventDefault();
    choose(at);
  }
});
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && !(/** @type {HTMLElement} */ (event.target).closest("vnc-console, serial-console"))) {
    event.preventDefault();
    open();
  }
});
document.querySelector("[data-palette-open]")?.addEventListener("click", open);
