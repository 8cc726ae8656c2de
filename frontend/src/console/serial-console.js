// <serial-console>: a VM's serial line, by xterm.js.
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import { ConsoleElement } from "./console-element.js";
import { keepToPolicy } from "./csp-styles.js";
import { wireKeyBar } from "./touch-bar.js";

/** @type {Record<string, string>} */
const CODES = { Escape: "\x1b", Tab: "\t", Enter: "\r", ArrowUp: "\x1b[A", ArrowDown: "\x1b[B", ArrowRight: "\x1b[C", ArrowLeft: "\x1b[D", "ControlLeft+KeyC": "\x03", "ControlLeft+KeyD": "\x04", "ControlLeft+KeyZ": "\x1a" };
// xterm's own sequences of the function keys.
const FUNCTION_KEYS = ["OP", "OQ", "OR", "OS", "[15~", "[17~", "[18~", "[19~", "[20~", "[21~", "[23~", "[24~"];
FUNCTION_KEYS.forEach((sequence, at) => (CODES[`F${at + 1}`] = `\x1b${sequence}`));
const HIGH_WATER = 512 * 1024;
const LOW_WATER = 64 * 1024;

class SerialConsole extends ConsoleElement {
  kind = "serial";
  /** @type {Set<string>} */ #held = new Set();
  #encoder = new TextEncoder();
  /** @type {Terminal | null} */ #terminal = null;
  /** @type {ResizeObserver | null} */ #resized = null;

  /** @param {AbortSignal} signal */
  wire(signal) {
    keepToPolicy();
    const terminal = new Terminal({
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      fontFamily: 'ui-monospace, "DejaVu Sans Mono", monospace',
      fontSize: 14,
      scrollback: 5000,
      screenReaderMode: true,
      theme: { background: "#0a0c0e", foreground: "#d7dce2" },
    });
    const fit = new FitAddon();
    terminal.loadAddon(fit);
    terminal.open(this.piece("screen"));
    terminal.onData((text) => this.#typed(text));
    terminal.onBinary((text) => this.channel?.send(Uint8Array.from(text, (character) => character.charCodeAt(0))));
    this.#resized = new ResizeObserver(() => fit.fit());
    this.#resized.observe(this.piece("screen"));
    this.#terminal = terminal;
    for (const button of this.querySelectorAll("[data-keys]")) {
      button.addEventListener("click", () => this.#press(/** @type {HTMLElement} */ (button)), { signal });
    }
    for (const button of this.querySelectorAll("[data-hold]")) {
      button.addEventListener("click", () => this.#hold(/** @type {HTMLElement} */ (button)), { signal });
    }
    wireKeyBar(this.piece("key-bar"), signal);
    this.piece("touch-open").addEventListener("click", () => terminal.focus(), { signal });
    this.piece("clear").addEventListener("click", () => terminal.clear(), { signal });
    this.piece("paste").addEventListener("click", () => this.#paste(), { signal });
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#resized?.disconnect();
    this.#terminal?.dispose();
  }

  /** @param {import("./channel.js").Channel} channel */
  show(channel) {
    const terminal = /** @type {Terminal} */ (this.#terminal);
    let waiting = 0;
    let shedding = false;
    channel.onmessage = (event) => {
      const data = new Uint8Array(event.data);
      // A guest that floods: what the terminal cannot draw is left out, and said.
      if (shedding && waiting > LOW_WATER) return;
      if (shedding) terminal.write("\r\n[output left out]\r\n");
      shedding = waiting > HIGH_WATER;
      waiting += data.length;
      terminal.write(data, () => (waiting -= data.length));
    };
    terminal.focus();
  }

  /** @param {string} text */
  #send(text) {
    this.channel?.send(this.#encoder.encode(text));
  }

  /** Ctrl and Alt of the key bar hold for the next key. @param {string} text */
  #typed(text) {
    let keys = text;
    if (this.#held.has("ControlLeft") && text.length === 1) keys = String.fromCharCode(text.toUpperCase().charCodeAt(0) & 0x1f);
    if (this.#held.has("AltLeft")) keys = `\x1b${keys}`;
    this.#send(keys);
    this.#held.clear();
    this.#showHeld();
  }

  /** @param {HTMLElement} button */
  #hold(button) {
    const code = button.dataset.hold ?? "";
    if (!this.#held.delete(code)) this.#held.add(code);
    this.#showHeld();
  }

  #showHeld() {
    for (const button of this.querySelectorAll("[data-hold]")) {
      button.setAttribute("aria-pressed", String(this.#held.has(/** @type {HTMLElement} */ (button).dataset.hold ?? "")));
    }
  }

  /** @param {HTMLElement} button */
  #press(button) {
    this.#typed(CODES[button.dataset.keys ?? ""] ?? "");
    button.closest("details")?.removeAttribute("open");
    this.#terminal?.focus();
  }

  #paste() {
    const field = this.piece("paste-text");
    this.#terminal?.paste(field.value);
    field.value = "";
    field.closest("details")?.removeAttribute("open");
    this.#terminal?.focus();
  }
}

customElements.define("serial-console", SerialConsole);
