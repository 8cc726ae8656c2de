// A form's "Test" button: what is typed is tried without being saved, and stays; the answer shows beside the button.
import { post } from "./http.js";

document.addEventListener("submit", async (event) => {
  const button = /** @type {HTMLButtonElement | null} */ (event.submitter);
  if (!button?.matches("button[data-try]")) return;
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.target);
  const output = /** @type {HTMLOutputElement} */ (form.querySelector("output[data-try-answer]"));
  const data = new FormData(form);
  data.set(button.name, button.value);
  button.disabled = true;
  show(output, "", button.dataset.try ?? "");
  try {
    const answer = await post(location.href, data);
    const body = await answer.json();
    show(output, body.kind === "success" ? "success" : "error", body.message);
  } catch {
    show(output, "error", "The server could not be reached.");
  } finally {
    button.disabled = false;
  }
});

/**
 * @param {HTMLOutputElement} output
 * @param {string} kind
 * @param {string} text
 */
function show(output, kind, text) {
  output.className = `v-note${kind ? ` v-note-${kind}` : ""}`;
  output.hidden = false;
  const words = document.createElement("div");
  words.textContent = text;
  output.replaceChildren(words);
}
