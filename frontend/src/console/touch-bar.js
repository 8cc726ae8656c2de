// The key bar of a phone, and what its on-screen keyboard types.

/** What the field holds before anything is typed: a phone's keyboard sends no backspace into an empty one. */
const PAD = "_".repeat(60);
const MOST = 400;

/**
 * The bar's buttons leave the focus where it is, so that the phone's keyboard stays; one of them shows the function keys.
 * @param {HTMLElement} bar
 * @param {AbortSignal} signal
 */
export function wireKeyBar(bar, signal) {
  bar.addEventListener("mousedown", (event) => event.preventDefault(), { signal });
  const toggle = bar.querySelector("[data-part=function-keys-open]");
  const keys = /** @type {HTMLElement | null} */ (bar.querySelector("[data-part=function-keys]"));
  toggle?.addEventListener(
    "click",
    () => {
      if (!keys) return;
      keys.hidden = !keys.hidden;
      toggle.setAttribute("aria-expanded", String(!keys.hidden));
    },
    { signal },
  );
}

/**
 * Tells what a phone's keyboard did to a field: predictions and corrections replace whole words, and no key event says so.
 * @param {string} before
 * @param {string} now
 * @returns {{erased: number, typed: string}}
 */
export function difference(before, now) {
  let same = 0;
  while (same < before.length && same < now.length && before[same] === now[same]) same += 1;
  return { erased: before.length - same, typed: now.slice(same) };
}

/**
 * @param {HTMLTextAreaElement} field
 * @param {{key: (code: string) => void, character: (character: string) => void}} guest
 * @param {AbortSignal} signal
 */
export function wireTouchField(field, guest, signal) {
  let before = PAD;
  const reset = () => {
    field.value = before = PAD;
    field.setSelectionRange(PAD.length, PAD.length);
  };
  reset();
  field.addEventListener("focus", reset, { signal });
  field.addEventListener(
    "input",
    (event) => {
      const { erased, typed } = difference(before, field.value);
      before = field.value;
      for (let count = 0; count < erased; count += 1) guest.key("Backspace");
      for (const character of typed) {
        if (character === "\n") guest.key("Enter");
        else guest.character(character);
      }
      // While a word is composed its field must stay as it is.
      if (!(/** @type {InputEvent} */ (event).isComposing) && (before.length < 20 || before.length > MOST)) reset();
    },
    { signal },
  );
}
