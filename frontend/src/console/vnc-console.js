// <vnc-console>: a VM's screen, by noVNC.
import RFB from "@novnc/novnc";
import { toast } from "../toasts.js";
import { ConsoleElement } from "./console-element.js";
import { LAYOUTS } from "./layouts.js";
import { wireKeyBar, wireTouchField } from "./touch-bar.js";
import { chord, typeCharacter, typeText } from "./typing.js";

const LAYOUT_KEY = "vireo.console.layout";
const SCALE_KEY = "vireo.console.scale";

class VncConsole extends ConsoleElement {
  kind = "vnc";
  /** @type {any} */ rfb = null;
  /** @type {Set<string>} */ #held = new Set();
  #typing = false;
  /** @type {HTMLCanvasElement | null} */ #canvas = null;
  /** @type {WeakSet<object>} those that have ended by themselves */ #gone = new WeakSet();

  /** @param {AbortSignal} signal */
  wire(signal) {
    const on = (/** @type {string} */ part, /** @type {string} */ type, /** @type {(event: any) => void} */ act) => this.piece(part).addEventListener(type, act, { signal });
    for (const button of this.querySelectorAll("[data-keys]")) {
      button.addEventListener("click", () => this.#press(/** @type {HTMLElement} */ (button)), { signal });
    }
    for (const button of this.querySelectorAll("[data-hold]")) {
      button.addEventListener("click", () => this.#hold(/** @type {HTMLElement} */ (button)), { signal });
    }
    this.#chooseLayout(signal);
    on("scale", "change", (event) => this.#scale(event.target.value));
    this.piece("scale").value = localStorage.getItem(SCALE_KEY) ?? "fit";
    on("view-only", "change", (event) => this.#viewOnly(event.target.checked));
    on("type", "click", () => this.#type());
    on("stop-typing", "click", () => (this.#typing = false));
    on("clipboard-send", "click", () => this.#clipboardToGuest());
    on("clipboard-take", "click", () => navigator.clipboard?.writeText(this.piece("clipboard-text").value));
    wireKeyBar(this.piece("key-bar"), signal);
    wireTouchField(
      /** @type {HTMLTextAreaElement} */ (this.piece("touch")),
      {
        key: (code) => this.#touched((rfb) => chord(rfb, [code])),
        character: (character) => this.#touched((rfb) => typeCharacter(rfb, character, this.piece("layout").value)),
      },
      signal,
    );
    on("touch-open", "click", () => this.#touchKeyboard());
    for (const panel of this.querySelectorAll("details")) {
      panel.addEventListener("toggle", () => !panel.open && this.rfb?.focus(), { signal });
    }
  }

  disconnectedCallback() {
    this.#typing = false;
    super.disconnectedCallback();
  }

  /**
   * @param {import("./channel.js").Channel} channel
   * @param {import("./channel.js").News} news
   */
  show(channel, news) {
    const screen = this.piece("screen");
    screen.replaceChildren();
    const rfb = new RFB(screen, /** @type {any} */ (channel), { shared: true });
    this.rfb = rfb;
    rfb.focusOnClick = true;
    rfb.background = "transparent";
    rfb.viewOnly = Boolean(news.view_only) || this.piece("view-only").checked;
    this.piece("view-only").checked = rfb.viewOnly;
    this.piece("view-only").disabled = Boolean(news.view_only);
    this.#scale(this.piece("scale").value);
    rfb.addEventListener("clipboard", (/** @type {CustomEvent} */ event) => this.#clipboardFromGuest(event.detail.text));
    rfb.addEventListener("connect", () => {
      this.piece("still").hidden = true;
      this.#canvas = screen.querySelector("canvas");
      this.dataset.screen = "live";
      if (!document.querySelector("dialog[open]")) rfb.focus();
    });
    rfb.addEventListener("disconnect", () => this.#gone.add(rfb));
    rfb.addEventListener("securityfailure", () => channel.close());
  }

  freeze() {
    const canvas = this.#canvas; // noVNC may have taken it out of the page by now; its picture is still there
    const still = /** @type {HTMLCanvasElement} */ (this.piece("still"));
    if (canvas?.width && this.dataset.screen === "live") {
      still.width = canvas.width;
      still.height = canvas.height;
      still.getContext("2d")?.drawImage(canvas, 0, 0);
      still.hidden = false;
    }
    this.dataset.screen = "";
    this.#typing = false;
    this.#release();
    const rfb = this.rfb;
    this.rfb = null;
    if (rfb && !this.#gone.has(rfb)) rfb.disconnect();
    this.piece("screen").replaceChildren();
  }

  // Keys.

  /** @param {HTMLElement} button with data-keys: codes joined by "+" */
  #press(button) {
    if (!this.rfb) return;
    chord(this.rfb, (button.dataset.keys ?? "").split("+"));
    this.#release();
    button.closest("details")?.removeAttribute("open");
    if (!button.closest("[data-part=key-bar]")) this.rfb.focus();
  }

  /** Ctrl, Alt and the like stay down until the next key. @param {HTMLElement} button */
  #hold(button) {
    const code = button.dataset.hold ?? "";
    const down = !this.#held.has(code);
    if (down) this.#held.add(code);
    else this.#held.delete(code);
    if (this.rfb) chordHalf(this.rfb, code, down);
    this.#showHeld();
  }

  #release() {
    for (const code of this.#held) if (this.rfb) chordHalf(this.rfb, code, false);
    this.#held.clear();
    this.#showHeld();
  }

  #showHeld() {
    for (const button of this.querySelectorAll("[data-hold]")) {
      button.setAttribute("aria-pressed", String(this.#held.has(/** @type {HTMLElement} */ (button).dataset.hold ?? "")));
    }
  }

  /** What the on-screen keyboard of a phone types. @param {(rfb: any) => void} press */
  #touched(press) {
    if (!this.rfb) return;
    press(this.rfb);
    this.#release();
  }

  /** Opens the phone's keyboard, or puts it away. */
  #touchKeyboard() {
    const field = this.piece("touch");
    if (document.activeElement === field) field.blur();
    else field.focus();
  }

  // "Type this text".

  /** @param {AbortSignal} signal */
  #chooseLayout(signal) {
    const select = /** @type {HTMLSelectElement} */ (this.piece("layout"));
    select.replaceChildren(...Object.entries(LAYOUTS).map(([value, name]) => new Option(name, value)));
    const remembered = localStorage.getItem(LAYOUT_KEY);
    const guess = navigator.language === "en-GB" ? "gb" : navigator.language.slice(0, 2);
    select.value = [remembered, guess].find((each) => each && each in LAYOUTS) ?? "us";
    select.addEventListener("change", () => localStorage.setItem(LAYOUT_KEY, select.value), { signal });
  }

  async #type() {
    const text = this.piece("type-text").value;
    if (!this.rfb || !text || this.#typing) return;
    if (this.rfb.viewOnly) {
      toast("View only is on: nothing is typed.", "warning");
      return;
    }
    this.#typing = true;
    this.piece("stop-typing").hidden = false;
    const rfb = this.rfb;
    const missing = await typeText(rfb, text, this.piece("layout").value, (done, total) => {
      this.piece("type-progress").textContent = `${done} of ${total} keys`;
      return this.#typing && this.rfb === rfb;
    });
    this.#typing = false;
    this.piece("stop-typing").hidden = true;
    if (missing.length) toast(`This keyboard layout cannot type ${missing.join(" ")}`, "warning");
  }

  // Clipboard, view, size.

  #clipboardToGuest() {
    this.rfb?.clipboardPasteFrom(this.piece("clipboard-text").value);
    toast("Sent to the guest's clipboard. It needs an agent that shares it; without one, type the text instead.", "info");
  }

  /** @param {string} text */
  #clipboardFromGuest(text) {
    this.piece("clipboard-text").value = text;
    // Only where the browser lets a page write without a click; the button does it otherwise.
    navigator.clipboard?.writeText(text).catch(() => {});
  }

  /** @param {boolean} on */
  #viewOnly(on) {
    if (this.rfb) this.rfb.viewOnly = on;
  }

  /** @param {string} how "fit", "actual" or "guest" */
  #scale(how) {
    localStorage.setItem(SCALE_KEY, how);
    this.dataset.scale = how;
    if (!this.rfb) return;
    this.rfb.scaleViewport = how === "fit";
    this.rfb.resizeSession = how === "guest";
    this.rfb.clipViewport = false;
  }
}

/**
 * @param {any} rfb
 * @param {string} code
 * @param {boolean} down
 */
function chordHalf(rfb, code, down) {
  const half = {
    sendKey: (/** @type {number} */ keysym, /** @type {string} */ name, /** @type {boolean | undefined} */ isDown) => {
      if (isDown === down) rfb.sendKey(keysym, name, down);
    },
  };
  chord(half, [code]);
}

customElements.define("vnc-console", VncConsole);
