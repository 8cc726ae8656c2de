// Menus are <details class="v-menu">: one open at a time, closed by Esc and by a click elsewhere, arrows move.

import { page } from "./http.js";

const openMenus = () => /** @type {HTMLDetailsElement[]} */ ([...document.querySelectorAll("details.v-menu[open]")]);

document.addEventListener("click", (event) => {
  for (const menu of openMenus()) if (!menu.contains(/** @type {Node} */ (event.target))) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  const menu = openMenus().at(-1);
  if (!menu) return;
  if (event.key === "Escape") {
    menu.open = false;
    menu.querySelector("summary")?.focus();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    const items = /** @type {HTMLElement[]} */ ([...menu.querySelectorAll("a, button")]);
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    items.at((at + (event.key === "ArrowDown" ? 1 : -1)) % items.length)?.focus();
  }
});

/** A row's menu is asked for when it is opened, so it is always as of now. @param {HTMLDetailsElement} menu */
async function fill(menu) {
  const fresh = (await page(menu.dataset.menuSrc ?? ""))?.querySelector(".v-menu-panel");
  const panel = menu.querySelector(".v-menu-panel");
  if (fresh && panel) panel.replaceChildren(...fresh.childNodes);
}

// The menu opens upwards where there is no room below.
document.addEventListener(
  "toggle",
  (event) => {
    const menu = /** @type {HTMLDetailsElement} */ (event.target);
    if (!menu.matches?.("details.v-menu") || !menu.open) return;
    if (menu.dataset.menuSrc) void fill(menu);
    menu.classList.remove("v-menu-up");
    const panel = menu.querySelector(".v-menu-panel");
    if (panel && panel.getBoundingClientRect().bottom > window.innerHeight) menu.classList.add("v-menu-up");
  },
  true,
);
document.querySelector("[data-nav-toggle]")?.addEventListener("click", (event) => {
  const shown = document.documentElement.toggleAttribute("data-nav-open");
  /** @type {HTMLElement} */ (event.currentTarget).setAttribute("aria-expanded", String(shown));
});
