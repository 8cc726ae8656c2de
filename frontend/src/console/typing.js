// Pressing keys in a guest: combinations from the menu, and whole texts as keystrokes.
import { strokesFor } from "./layouts.js";

const PAUSE_MS = 12; // a guest's keyboard controller holds 16 bytes; a slow guest drops what comes faster

// Keysyms of X11, by the name of the key.
export const KEYS = {
  ControlLeft: 0xffe3, AltLeft: 0xffe9, AltRight: 0xfe03, ShiftLeft: 0xffe1, MetaLeft: 0xffeb,
  Delete: 0xffff, Backspace: 0xff08, Tab: 0xff09, Escape: 0xff1b, Enter: 0xff0d, Space: 0x20, PrintScreen: 0xff61,
  ArrowLeft: 0xff51, ArrowUp: 0xff52, ArrowRight: 0xff53, ArrowDown: 0xff54,
  ...Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`F${n + 1}`, 0xffbe + n])),
};

/** @typedef {{sendKey: (keysym: number, code: string, down?: boolean) => void}} Keyboard */

/**
 * Presses keys together and lets all of them go again, the last first.
 * @param {Keyboard} keyboard
 * @param {string[]} codes
 */
export function chord(keyboard, codes) {
  for (const code of codes) keyboard.sendKey(keysymOf(code), code, true);
  for (const code of [...codes].reverse()) keyboard.sendKey(keysymOf(code), code, false);
}

/** @param {string} code */
function keysymOf(code) {
  return KEYS[code] ?? (code.startsWith("Key") ? code.charCodeAt(3) + 32 : 0);
}

/** A display that knows no scan codes takes the character itself. @param {string} character */
function keysymOfCharacter(character) {
  if (character === "\n") return KEYS.Enter;
  const point = /** @type {number} */ (character.codePointAt(0));
  return point < 0x100 ? point : 0x01000000 | point;
}

/**
 * Types one character as the on-screen keyboard of a phone gives it.
 * @param {Keyboard} keyboard
 * @param {string} character
 * @param {string} layout of the guest
 */
export function typeCharacter(keyboard, character, layout) {
  const { strokes } = strokesFor(character, layout);
  if (!strokes.length) keyboard.sendKey(keysymOfCharacter(character), "", undefined);
  for (const stroke of strokes) press(keyboard, stroke, stroke.character);
}

/**
 * @param {Keyboard} keyboard
 * @param {import("./layouts.js").Stroke} stroke
 * @param {string} character
 */
function press(keyboard, stroke, character) {
  const held = [stroke.shift ? "ShiftLeft" : "", stroke.altGr ? "AltRight" : ""].filter(Boolean);
  for (const code of held) keyboard.sendKey(KEYS[code], code, true);
  const keysym = KEYS[stroke.code] ?? keysymOfCharacter(character);
  keyboard.sendKey(keysym, stroke.code, true);
  keyboard.sendKey(keysym, stroke.code, false);
  for (const code of held.reverse()) keyboard.sendKey(KEYS[code], code, false);
}

/**
 * Types a text, key by key, no faster than a guest reads.
 * @param {Keyboard} keyboard
 * @param {string} text
 * @param {string} layout
 * @param {(done: number, total: number) => boolean} goOn called after each key; false stops
 * @returns {Promise<string[]>} the characters that the layout cannot type
 */
export async function typeText(keyboard, text, layout, goOn) {
  const { strokes, missing } = strokesFor(text, layout);
  let done = 0;
  for (const stroke of strokes) {
    press(keyboard, stroke, stroke.character);
    done += 1;
    if (!goOn(done, strokes.length)) break;
    await new Promise((resolve) => window.setTimeout(resolve, PAUSE_MS));
  }
  return missing;
}
