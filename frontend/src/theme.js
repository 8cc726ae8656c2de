// Light, dark, or as the system says; kept with the user's account, so that it follows them.
import { post } from "./http.js";

const system = window.matchMedia("(prefers-color-scheme: dark)");

function apply() {
  const chosen = document.documentElement.dataset.theme ?? "auto";
  const dark = chosen === "dark" || (chosen === "auto" && system.matches);
  document.documentElement.dataset.bsTheme = dark ? "dark" : "light";
  document.dispatchEvent(new Event("theme:changed"));
}

system.addEventListener("change", apply);
apply();

document.querySelector("[data-theme-toggle]")?.addEventListener("click", (event) => {
  const next = document.documentElement.dataset.bsTheme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  apply();
  const url = /** @type {HTMLElement} */ (event.currentTarget).dataset.url;
  if (url) void post(url, new URLSearchParams({ theme: next }));
});
