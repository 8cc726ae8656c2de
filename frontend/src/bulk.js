// Selecting rows of a list, and the bar that acts on the selection.

const list = () => document.querySelector("[data-bulk]");
const boxes = () => /** @type {HTMLInputElement[]} */ ([...(list()?.querySelectorAll("input[name=ids]") ?? [])]);

function update() {
  const bar = document.querySelector("[data-bulk-bar]");
  if (!(bar instanceof HTMLElement)) return;
  const picked = boxes().filter((box) => box.checked).length;
  bar.hidden = picked === 0;
  const count = bar.querySelector("[data-bulk-count]");
  if (count) count.textContent = `${picked} selected`;
  const all = /** @type {HTMLInputElement | null} */ (document.querySelector("[data-bulk-all]"));
  if (all) {
    all.checked = picked > 0 && picked === boxes().length;
    all.indeterminate = picked > 0 && picked < boxes().length;
  }
  for (const box of boxes()) box.closest("tr")?.classList.toggle("v-selected", box.checked);
}

document.addEventListener("change", (event) => {
  const box = /** @type {HTMLInputElement} */ (event.target);
  if (box.matches?.("[data-bulk-all]")) for (const one of boxes()) one.checked = box.checked;
  if (box.matches?.("[data-bulk-all], input[name=ids]")) update();
});
document.addEventListener("live:refreshed", update);
document.addEventListener("click", (event) => {
  if (/** @type {HTMLElement} */ (event.target).closest?.("[data-bulk-clear]")) {
    for (const box of boxes()) box.checked = false;
    update();
  }
});
update();
