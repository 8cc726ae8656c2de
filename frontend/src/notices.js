// Notifications: the count at the bell, and a word on the page when one comes.
import { live } from "./live.js";
import { toast } from "./toasts.js";

const count = document.querySelector("[data-unread]");

live.addEventListener("notice", (event) => {
  const { text, severity } = /** @type {CustomEvent<{text: string, severity: string}>} */ (event).detail;
  toast(text, severity === "info" ? "info" : "warning");
  if (!(count instanceof HTMLElement)) return;
  const unread = Number(count.dataset.unread ?? "0") + 1;
  count.dataset.unread = String(unread);
  count.textContent = String(unread);
  count.hidden = false;
});
