// The keyboard throughout: / filter, j k rows, x select, Enter open, g + letter goes, c creates, ? help.

const GO = { d: "dashboard", v: "vms", h: "hosts", t: "templates", s: "storage", n: "networks", j: "jobs", e: "events" };
let prefix = "";
let prefixTimer = 0;

const rows = () => /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-row]")]);

/** @param {number} step */
function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.classList.contains("v-current"));
  const next = all[Math.max(0, Math.min(all.length - 1, at + step))];
  for (const row of all) row.classList.toggle("v-current", row === next);
  next.scrollIntoView({ block: "nearest" });
  /** @type {HTMLElement | null} */ (next.querySelector("a"))?.focus({ preventScroll: true });
}

const current = () => document.querySelector("[data-row].v-current");

/** @type {Record<string, () => void>} */
const ACTIONS = {
  "/": () => /** @type {HTMLInputElement | null} */ (document.querySelector("[data-filter]"))?.focus(),
  j: () => move(1),
  k: () => move(-1),
  x: () => /** @type {HTMLInputElement | null} */ (current()?.querySelector("input[name=ids]") ?? null)?.click(),
  c: () => /** @type {HTMLElement | null} */ (document.querySelector("[data-create]"))?.click(),
  "?": () => /** @type {HTMLDialogElement | null} */ (document.getElementById("keys-help"))?.showModal(),
};

document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, select, dialog, [contenteditable], vnc-console, serial-console")) return;
  if (prefix === "g") {
    prefix = "";
    const name = GO[/** @type {keyof typeof GO} */ (event.key)];
    const link = name && document.querySelector(`[data-go="${name}"]`);
    if (link instanceof HTMLAnchorElement) location.assign(link.href);
    return;
  }
  if (event.key === "g") {
    prefix = "g";
    window.clearTimeout(prefixTimer);
    prefixTimer = window.setTimeout(() => (prefix = ""), 1200);
    return;
  }
  const action = ACTIONS[event.key];
  if (action) {
    event.preventDefault();
    action();
  }
});
