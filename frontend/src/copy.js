// [data-copy] copies its text, and says so.
import { toast } from "./toasts.js";

document.addEventListener("click", async (event) => {
  const button = /** @type {HTMLElement} */ (event.target).closest?.("[data-copy]");
  if (!(button instanceof HTMLElement)) return;
  const source = button.dataset.copyFrom ? document.getElementById(button.dataset.copyFrom)?.textContent : button.dataset.copy;
  try {
    await navigator.clipboard.writeText((source ?? "").trim());
    toast("Copied.", "success");
  } catch {
    toast("The browser does not let this page copy; select the text instead.", "warning");
  }
});
