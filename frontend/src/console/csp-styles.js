// xterm.js writes its colours into <style> elements and style attributes, which our Content-Security-Policy forbids.
// On the serial console's page, and only there, the document hands out elements that reach the same by constructed style
// sheets and by the style property, both of which the policy allows. (xterm.js 6.0 has an option for the document that it
// uses, but part of it takes the window's own.)

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
 * An element whose style attribute is set as a property, and so is that of its copies.
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

/** From now on elements that scripts of this page create keep to the policy. */
export function keepToPolicy() {
  document.createElement = /** @type {any} */ (
    (/** @type {string} */ name, /** @type {ElementCreationOptions | undefined} */ options) =>
      name.toLowerCase() === "style" ? styleStandIn() : prepared(make(name, options))
  );
}
