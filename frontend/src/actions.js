// Buttons that act on objects: posted without leaving the page; the answer is a toast, and the page follows by itself.
import { post } from "./http.js";
import { confirmed } from "./confirm.js";
import { toast } from "./toasts.js";

document.addEventListener("submit", async (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (!form.matches("form[data-action]")) return;
  event.preventDefault();
  if (form.dataset.busy) return; // a second click on the same button
  if (form.dataset.confirm && !(await confirmed(form))) return;
  form.dataset.busy = "1";
  form.closest("details[open].v-menu")?.removeAttribute("open");
  const button = /** @type {HTMLButtonElement | null} */ (event.submitter ?? form.querySelector("button"));
  button?.setAttribute("aria-busy", "true");
  try {
    const answer = await post(form.action, new FormData(form));
    await show(answer);
  } catch {
    toast("The server could not be reached. Nothing was changed.", "error");
  } finally {
    delete form.dataset.busy;
    button?.removeAttribute("aria-busy");
  }
});

/** @param {Response} answer */
async function show(answer) {
  if (answer.headers.get("HX-Redirect")) {
    location.assign(/** @type {string} */ (answer.headers.get("HX-Redirect")));
    return;
  }
  const kind = answer.headers.get("Content-Type") ?? "";
  if (kind.startsWith("application/json")) {
    const body = await answer.json();
    toast(body.message, body.kind ?? (answer.ok ? "success" : "error"), body.href ?? "");
  } else if (!answer.ok) {
    toast(answer.status === 403 ? "You may not do this." : `The server answered ${answer.status}.`, "error");
  }
}
