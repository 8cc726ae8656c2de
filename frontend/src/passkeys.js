// Forms with data-passkey: before they are sent, the browser makes a passkey ("create") or signs with one ("get").
import { post } from "./http.js";
import { toast } from "./toasts.js";

/** @param {string} text */
function bytes(text) {
  const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

/** @param {ArrayBuffer | null | undefined} data */
function text(data) {
  if (!data) return undefined;
  const plain = String.fromCharCode(...new Uint8Array(data));
  return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** @param {any} list */
const withBytes = (list) => (list ?? []).map((/** @type {any} */ each) => ({ ...each, id: bytes(each.id) }));

/** @param {any} options */
async function create(options) {
  const made = await navigator.credentials.create({
    publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: withBytes(options.excludeCredentials),
    },
  });
  const key = /** @type {PublicKeyCredential} */ (made);
  const answer = /** @type {AuthenticatorAttestationResponse} */ (key.response);
  return {
    id: key.id, rawId: text(key.rawId), type: key.type, clientExtensionResults: {},
    response: { clientDataJSON: text(answer.clientDataJSON), attestationObject: text(answer.attestationObject), transports: answer.getTransports?.() ?? [] },
  };
}

/** @param {any} options */
async function get(options) {
  const found = await navigator.credentials.get({
    publicKey: { ...options, challenge: bytes(options.challenge), allowCredentials: withBytes(options.allowCredentials) },
  });
  const key = /** @type {PublicKeyCredential} */ (found);
  const answer = /** @type {AuthenticatorAssertionResponse} */ (key.response);
  return {
    id: key.id, rawId: text(key.rawId), type: key.type, clientExtensionResults: {},
    response: {
      clientDataJSON: text(answer.clientDataJSON), authenticatorData: text(answer.authenticatorData),
      signature: text(answer.signature), userHandle: text(answer.userHandle),
    },
  };
}

/** @param {unknown} error */
function words(error) {
  if (!(error instanceof DOMException)) return "The passkey could not be used. Reload the page and try again.";
  if (error.name === "SecurityError") return "Passkeys need HTTPS and a host name, not an address.";
  if (error.name === "InvalidStateError") return "This device has a passkey for you already.";
  return "Nothing was done: the browser's question was closed or took too long.";
}

/** @param {HTMLFormElement} form */
async function run(form) {
  if (!window.PublicKeyCredential) {
    toast("This browser, or a page without HTTPS, knows no passkeys.", "warning");
    return;
  }
  try {
    const asked = await post(form.dataset.options ?? "");
    if (!asked.ok || asked.redirected) {
      location.reload();
      return;
    }
    const options = await asked.json();
    const answer = form.dataset.passkey === "create" ? await create(options) : await get(options);
    /** @type {HTMLInputElement} */ (form.elements.namedItem("credential")).value = JSON.stringify(answer);
    form.submit();
  } catch (error) {
    toast(words(error), "error");
  }
}

document.addEventListener("submit", (event) => {
  const form = /** @type {HTMLElement} */ (event.target);
  if (!(form instanceof HTMLFormElement) || !form.dataset.passkey) return;
  event.preventDefault();
  run(form);
});
