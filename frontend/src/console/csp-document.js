// xterm.js writes its colours into <style> elements and style attributes, which our Content-Security-Policy forbids.
// It takes the document to use as an option: this one hands it elements that reach the same by constructed style sheets and
// by the style property, both of which the policy allows.

const make = Document.prototype.createElement.bind(document);

/** A stand-in for a <style> element: its text becomes a style sheet of the document. */
function styleStandIn() {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  const element = make("template");
  Object.defineProperty(element, "textContent", { set: (text) => sheet.replaceSync(text), get: () => "" });
  const remove = element.remove.bind(element);
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((each) => each !== sheet);
    remove();
  };
  return element;
}

/**
 * @param {string} name
 * @param {ElementCreationOptions} [options]
 */
function createElement(name, options) {
  if (name.toLowerCase() === "style") return styleStandIn();
  return prepared(make(name, options));
}

/**
 * Its style attribute is set as a property, and so is that of its copies.
 * @param {HTMLElement} element
 * @returns {HTMLElement}
 */
function prepared(element) {
  const setAttribute = element.setAttribute.bind(element);
  const cloneNode = element.cloneNode.bind(element);
  element.setAttribute = (attribute, value) => {
    if (attribute === "style") element.style.cssText = value;
    else setAttribute(attribute, value);
  };
  element.cloneNode = (deep) => prepared(/** @type {HTMLElement} */ (cloneNode(deep)));
  return element;
}

/** @returns {Document} */
export function cspDocument() {
  return new Proxy(document, {
    get(target, name) {
      if (name === "createElement") return createElement;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
    set: (target, name, value) => Reflect.set(target, name, value, target),
  });
}

/**
 * Puts a terminal, made with cspDocument() as its documentOverride, into the page.
 * xterm.js 6.0 takes the window's own document for the scroll bar's style, whatever the option says (its `??` binds weaker than
 * its `?:`), so that one hands out our elements too while the terminal is being built.
 * @param {import("@xterm/xterm").Terminal} terminal
 * @param {HTMLElement} host
 */
export function openTerminal(terminal, host) {
  document.createElement = /** @type {any} */ (createElement);
  try {
    terminal.open(host);
  } finally {
    Reflect.deleteProperty(document, "createElement");
  }
}
