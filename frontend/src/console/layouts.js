// Which keys type a character, on the keyboards that guests are set to. A key is named as in KeyboardEvent.code.

const CODES = [
  "Backquote", "Digit1", "Digit2", "Digit3", "Digit4", "Digit5", "Digit6", "Digit7", "Digit8", "Digit9", "Digit0", "Minus", "Equal",
  "KeyQ", "KeyW", "KeyE", "KeyR", "KeyT", "KeyY", "KeyU", "KeyI", "KeyO", "KeyP", "BracketLeft", "BracketRight", "Backslash",
  "KeyA", "KeyS", "KeyD", "KeyF", "KeyG", "KeyH", "KeyJ", "KeyK", "KeyL", "Semicolon", "Quote",
  "IntlBackslash", "KeyZ", "KeyX", "KeyC", "KeyV", "KeyB", "KeyN", "KeyM", "Comma", "Period", "Slash",
];

// Three texts each, in the order of CODES: plain, with Shift, with AltGr; a blank is no character. `dead` waits for the next key.
const TABLES = {
  us: {
    name: "English (US)",
    rows: [
      "`1234567890-=" + "qwertyuiop[]\\" + "asdfghjkl;'" + " zxcvbnm,./",
      "~!@#$%^&*()_+" + "QWERTYUIOP{}|" + 'ASDFGHJKL:"' + " ZXCVBNM<>?",
      "",
    ],
    dead: "",
  },
  gb: {
    name: "English (UK)",
    rows: [
      "`1234567890-=" + "qwertyuiop[]#" + "asdfghjkl;'" + "\\zxcvbnm,./",
      '¬!"£$%^&*()_+' + "QWERTYUIOP{}~" + "ASDFGHJKL:@" + "|ZXCVBNM<>?",
      "    €        ",
    ],
    dead: "",
  },
  de: {
    name: "German",
    rows: [
      "^1234567890ß´" + "qwertzuiopü+#" + "asdfghjklöä" + "<yxcvbnm,.-",
      '°!"§$%&/()=?`' + "QWERTZUIOPÜ*'" + "ASDFGHJKLÖÄ" + ">YXCVBNM;:_",
      "  ²³   {[]}\\ " + "@ €        ~ " + "           " + "|      µ   ",
    ],
    dead: "^´`",
  },
  fr: {
    name: "French",
    rows: [
      "²&é\"'(-è_çà)=" + "azertyuiop^$*" + "qsdfghjklmù" + "<wxcvbn,;:!",
      " 1234567890°+" + "AZERTYUIOP¨£µ" + "QSDFGHJKLM%" + ">WXCVBN?./§",
      "  ~#{[|`\\^@]}" + "  €          ",
    ],
    dead: "^¨",
  },
  es: {
    name: "Spanish",
    rows: [
      "º1234567890'¡" + "qwertyuiop`+ç" + "asdfghjklñ´" + "<zxcvbnm,.-",
      'ª!"·$%&/()=?¿' + "QWERTYUIOP^*Ç" + "ASDFGHJKLÑ¨" + ">ZXCVBNM;:_",
      "\\|@#~        " + "  €       []}" + "          {",
    ],
    dead: "`^´¨",
  },
};

// The dead keys that make an accent, by Unicode's combining mark.
const ACCENTS = { "\u0300": "`", "\u0301": "´", "\u0302": "^", "\u0308": "¨" };

/** @typedef {{code: string, shift: boolean, altGr: boolean, character: string}} Stroke the character is what a display without scan codes is sent */

/** @type {Record<string, string>} layout -> its name */
export const LAYOUTS = Object.fromEntries(Object.entries(TABLES).map(([key, table]) => [key, table.name]));

/** @param {string} layout */
function strokesOf(layout) {
  const { rows, dead } = TABLES[layout] ?? TABLES.us;
  /** @type {Map<string, Stroke>} */ const plain = new Map();
  /** @type {Map<string, Stroke>} */ const waiting = new Map();
  rows.forEach((row, level) => {
    [...row].forEach((character, at) => {
      const isDead = dead.includes(character) && level < 2;
      const map = isDead ? waiting : plain;
      if (character !== " " && !map.has(character)) map.set(character, { code: CODES[at], shift: level === 1, altGr: level === 2, character });
    });
  });
  for (const [character, code] of [[" ", "Space"], ["\n", "Enter"], ["\t", "Tab"]]) plain.set(character, { code, shift: false, altGr: false, character });
  return { plain, waiting };
}

/**
 * The keys that type a text, and the characters that this keyboard cannot type.
 * @param {string} text
 * @param {string} layout
 * @returns {{strokes: Stroke[], missing: string[]}}
 */
export function strokesFor(text, layout) {
  const { plain, waiting } = strokesOf(layout);
  /** @type {Stroke[]} */ const strokes = [];
  /** @type {Set<string>} */ const missing = new Set();
  for (const character of text.replaceAll("\r\n", "\n").normalize("NFC")) {
    const direct = plain.get(character);
    const dead = waiting.get(character);
    const [base, mark] = character.normalize("NFD");
    const accent = mark && waiting.get(ACCENTS[mark]);
    const letter = plain.get(base);
    if (direct) strokes.push(direct);
    else if (dead) strokes.push(dead, /** @type {Stroke} */ (plain.get(" ")));
    else if (accent && letter) strokes.push(accent, letter);
    else missing.add(character);
  }
  return { strokes, missing: [...missing] };
}
