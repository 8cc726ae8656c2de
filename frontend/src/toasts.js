// Short messages at the lower left. Errors stay until they are closed; the rest goes by itself.

const SECONDS = 6;
const ICONS = { success: "circle-check", info: "info-circle", warning: "alert-triangle", error: "alert-circle" };

/**
 * @param {string} text
 * @param {"success"|"info"|"warning"|"error"} [kind]
 * @param {string} [href] where to read more
 */
export function toast(text, kind = "info", href = "") {
  const host = document.getElementById("toasts");
  if (!host) return;
  const item = document.createElement("div");
  item.className = `v-toast v-toast-${kind}`;
  item.setAttribute("role", kind === "error" ? "alert" : "status");
  item.innerHTML = `<svg class="icon" aria-hidden="true"><use href="${host.dataset.icons}#${ICONS[kind]}"></use></svg><span></span>`;
  const words = /** @type {HTMLElement} */ (item.querySelector("span"));
  words.textContent = text;
  if (href) {
    const link = document.createElement("a");
    link.href = href;
    link.textContent = "Details";
    words.append(" ", link);
  }
  const close = document.createElement("button");
  close.type = "button";
  close.className = "v-icon-button";
  close.setAttribute("aria-label", "Close this message");
  close.textContent = "×";
  close.onclick = () => item.remove();
  item.append(close);
  host.append(item);
  if (kind !== "error") window.setTimeout(() => item.remove(), SECONDS * 1000);
}
