// "Are you sure?" in the page's own dialog: what will happen, to what, and a button that says it.

/**
 * @param {HTMLFormElement} form with data-confirm (sentence), data-confirm-verb, data-confirm-title
 * @returns {Promise<boolean>}
 */
export function confirmed(form) {
  const dialog = /** @type {HTMLDialogElement | null} */ (document.getElementById("confirm"));
  if (!dialog) return Promise.resolve(window.confirm(form.dataset.confirm));
  const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (dialog.querySelector(`[data-part=${name}]`));
  part("title").textContent = form.dataset.confirmTitle ?? "Are you sure?";
  part("text").textContent = form.dataset.confirm ?? "";
  part("verb").textContent = form.dataset.confirmVerb ?? "Continue";
  dialog.returnValue = "";
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        before?.focus();
        resolve(dialog.returnValue === "yes");
      },
      { once: true },
    );
  });
}
