// <job-tray src>: what runs and what just ended, on every page, as the server draws it; a failure also says so at once.
import { Idiomorph } from "idiomorph";
import { page } from "./http.js";
import { live } from "./live.js";
import { refreshTimes } from "./times.js";
import { toast } from "./toasts.js";

const PAUSE_MS = 150;

class JobTray extends HTMLElement {
  #timer = 0;
  #listening = new AbortController();

  connectedCallback() {
    live.subscribe(["job"]);
    live.addEventListener("change", (event) => this.#changed(/** @type {CustomEvent} */ (event).detail), { signal: this.#listening.signal });
    live.addEventListener("refetch", () => this.#soon(), { signal: this.#listening.signal });
    this.#soon();
  }

  disconnectedCallback() {
    this.#listening.abort();
    live.unsubscribe(["job"]);
    window.clearTimeout(this.#timer);
  }

  /** @param {{object_type: string, id: string, facts: Record<string, any>}} change */
  #changed(change) {
    if (change.object_type !== "job") return;
    const mine = change.facts.user_id && change.facts.user_id === document.body.dataset.user;
    if (mine && change.facts.status === "failed") toast(`${change.facts.title}: ${change.facts.error}`, "error", `/jobs/${change.id}/`);
    if (mine && change.facts.status === "succeeded") toast(`${change.facts.title}: done.`, "success");
    this.#soon();
  }

  #soon() {
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.#refresh(), PAUSE_MS);
  }

  async #refresh() {
    const fresh = (await page(this.getAttribute("src") ?? ""))?.getElementById("tray");
    const shown = this.querySelector("#tray");
    if (!fresh) return;
    if (shown) Idiomorph.morph(shown, fresh, { morphStyle: "outerHTML" });
    else this.append(fresh);
    const running = Number(fresh.dataset.running ?? "0");
    const badge = document.querySelector("[data-tray-count]");
    if (badge instanceof HTMLElement) {
      badge.hidden = running === 0;
      badge.textContent = String(running);
    }
    refreshTimes();
  }
}

customElements.define("job-tray", JobTray);
