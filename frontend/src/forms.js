// Forms: a filled one is not lost unasked; a live summary beside it; choices that set sensible defaults.

/** @type {Set<HTMLFormElement>} */
const changed = new Set();

document.addEventListener("input", (event) => {
  const form = /** @type {HTMLElement} */ (event.target).closest?.("form[data-guard]");
  if (form instanceof HTMLFormElement) changed.add(form);
  summarize(form);
});
document.addEventListener("submit", (event) => changed.delete(/** @type {HTMLFormElement} */ (event.target)));
window.addEventListener("beforeunload", (event) => {
  if ([...changed].some((form) => form.isConnected)) event.preventDefault();
});

/** Each [data-summary="field"] repeats what the field says. @param {Element | null | undefined} form */
function summarize(form) {
  for (const target of form?.querySelectorAll("[data-summary]") ?? []) {
    const name = /** @type {HTMLElement} */ (target).dataset.summary ?? "";
    const field = /** @type {HTMLFormElement} */ (form).elements.namedItem(name);
    let text = "";
    if (field instanceof RadioNodeList) {
      const picked = /** @type {HTMLInputElement[]} */ ([...field]).find((radio) => radio.checked);
      text = picked?.dataset.label ?? picked?.value ?? "";
    } else if (field instanceof HTMLSelectElement) text = field.selectedOptions[0]?.textContent ?? "";
    else if (field instanceof HTMLInputElement) text = field.dataset.label ?? field.value;
    else if (field instanceof HTMLTextAreaElement) text = field.value;
    target.textContent = text.trim() || "—";
  }
}

// A chosen template fills memory and CPUs in, as long as nobody typed there.
document.addEventListener("change", (event) => {
  const chosen = /** @type {HTMLInputElement} */ (event.target);
  if (!chosen.matches?.("[data-defaults]")) return;
  const form = chosen.form;
  for (const [name, value] of Object.entries(JSON.parse(chosen.dataset.defaults ?? "{}"))) {
    const field = form?.elements.namedItem(name);
    if (field instanceof HTMLInputElement && !field.dataset.typed) field.value = String(value);
  }
  summarize(form);
});
// A chosen size says what stands in its fields; typing there means numbers of one's own.
document.addEventListener("change", (event) => {
  const chosen = /** @type {HTMLInputElement} */ (event.target);
  if (!chosen.matches?.("[data-fills]")) return;
  for (const [name, value] of Object.entries(JSON.parse(chosen.dataset.fills ?? "{}"))) {
    const field = chosen.form?.elements.namedItem(name);
    if (field instanceof HTMLInputElement) field.value = String(value);
  }
  summarize(chosen.form);
});
document.addEventListener("input", (event) => {
  const field = event.target;
  if (!(field instanceof HTMLInputElement) || !event.isTrusted) return;
  field.dataset.typed = "1";
  const filler = /** @type {HTMLInputElement | null} */ (field.form?.querySelector("[data-fills]:checked"));
  if (filler === null || !(field.name in JSON.parse(filler.dataset.fills ?? "{}"))) return;
  const own = /** @type {HTMLInputElement | null} */ (field.form?.querySelector(`[name="${filler.name}"][value=""]`));
  if (own) own.checked = true;
});
for (const form of document.querySelectorAll("form")) summarize(form);
