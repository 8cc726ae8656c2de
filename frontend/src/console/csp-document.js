// xterm.js writes its colours into <style> elements and style attributes, which our Content-Security-Policy forbids.
// It takes the document to use as an option: this one hands it elements that reach the same by constructed style sheets and
// by the style property, both of which the policy allows.

/** A stand-in for a <style> element: its text becomes a style sheet of the document. */
function styleStandIn() {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  const element = document.createElement("template");
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
  const element = document.createElement(name, options);
  const setAttribute = element.setAttribute.bind(element);
  element.setAttribute = (attribute, value) => {
    if (attribute === "style") element.style.cssText = value;
    else setAttribute(attribute, value);
  };
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
