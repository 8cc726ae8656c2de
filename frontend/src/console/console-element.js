// What both consoles share: getting in, staying in, saying why there is nothing to show, and asking before taking over.
import { live } from "../live.js";
import { Channel, Ending } from "./channel.js";

const BACKOFF_MS = [500, 1000, 2000, 4000, 8000, 15000];
const LOOK_AGAIN_MS = 3000;

/**
 * The page's parts carry data-part; see templates/vms/console.html.
 * @abstract
 */
export class ConsoleElement extends HTMLElement {
  kind = "";
  /** @type {Channel | null} */ channel = null;
  wish = { takeOver: false, viewOnly: false };
  #tries = 0;
  #timer = 0;
  #attempt = 0;
  /** @type {AbortController | null} */ #listening = null;

  connectedCallback() {
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    live.subscribe([this.topic]);
    live.addEventListener("change", (event) => this.#changed(/** @type {CustomEvent} */ (event).detail), { signal });
    this.piece("again").addEventListener("click", () => this.connect(), { signal });
    this.piece("take-back").addEventListener("click", () => this.connect({ takeOver: true, viewOnly: false }), { signal });
    this.piece("reconnect").addEventListener("click", () => this.connect(), { signal });
    this.piece("full-screen").addEventListener("click", () => this.#fullScreen(), { signal });
    const ask = /** @type {HTMLDialogElement} */ (this.piece("busy"));
    ask.addEventListener("close", () => this.#answered(ask.returnValue), { signal });
    this.wire(signal);
    this.connect();
  }

  disconnectedCallback() {
    this.#listening?.abort();
    live.unsubscribe([this.topic]);
    window.clearTimeout(this.#timer);
    this.#attempt += 1;
    this.channel?.close();
  }

  get topic() {
    return `vm:${this.dataset.vm}`;
  }

  /**
   * @param {string} name
   * @returns {any}
   */
  piece(name) {
    const found = this.querySelector(`[data-part="${name}"]`);
    if (!found) throw new Error(`the page has no part ${name}`);
    return found;
  }

  // What a kind of console adds.

  /** @param {AbortSignal} _signal */
  wire(_signal) {}

  /**
   * @param {Channel} _channel
   * @param {import("./channel.js").News} _news
   */
  show(_channel, _news) {}

  /** Called when the channel has gone; what was shown stays, greyed. */
  freeze() {}

  // Getting in.

  /** @param {{takeOver: boolean, viewOnly: boolean}} [wish] */
  async connect(wish) {
    if (wish) this.wish = wish;
    window.clearTimeout(this.#timer);
    const attempt = ++this.#attempt;
    this.#drop();
    this.say("connecting", "Connecting…");
    try {
      const { channel, news } = await Channel.open(this.dataset.ticket ?? "", { kind: this.kind, ...this.wish });
      if (attempt !== this.#attempt) {
        channel.close();
        return;
      }
      this.#opened(channel, news);
    } catch (error) {
      if (attempt === this.#attempt) this.#ended(error instanceof Ending ? error : new Ending("lost", String(error), true));
    }
  }

  #drop() {
    const channel = this.channel;
    this.channel = null;
    if (channel) {
      this.freeze();
      channel.onending = () => {};
      channel.close();
    }
  }

  /**
   * @param {Channel} channel
   * @param {import("./channel.js").News} news
   */
  #opened(channel, news) {
    this.#tries = 0;
    this.wish = { ...this.wish, takeOver: false };
    this.channel = channel;
    channel.onnews = (heard) => heard.op === "viewers" && this.#viewers(heard.viewers ?? []);
    channel.onending = (ending) => {
      this.channel = null;
      this.freeze();
      this.#ended(ending);
    };
    this.#viewers(news.viewers ?? []);
    this.say("open", news.view_only ? "Connected, view only" : "Connected");
    this.show(channel, news);
  }

  /** @param {Ending} ending */
  #ended(ending) {
    this.#viewers([]);
    if (ending.code === "busy") {
      this.say("refused", ending.reason);
      this.piece("busy-who").textContent = ending.reason;
      /** @type {HTMLDialogElement} */ (this.piece("busy")).showModal();
      return;
    }
    const word = { down: "down", taken: "taken", forbidden: "refused", full: "refused", ended: "lost" }[ending.code] ?? "lost";
    this.say(word, ending.reason);
    if (ending.code === "down" || ending.code === "ended") this.#look();
    else if (ending.retry) this.#later();
  }

  /** @param {string} answer */
  #answered(answer) {
    if (answer === "take-over") this.connect({ takeOver: true, viewOnly: false });
    else if (answer === "watch") this.connect({ takeOver: false, viewOnly: true });
    else this.say("refused", "You did not take this console over.");
  }

  #later() {
    const wait = BACKOFF_MS[Math.min(this.#tries++, BACKOFF_MS.length - 1)] * (0.8 + Math.random() * 0.4);
    this.piece("reason").textContent += ` Trying again in ${Math.max(1, Math.round(wait / 1000))} s.`;
    this.#timer = window.setTimeout(() => this.connect(), wait);
  }

  // The VM: whether there is something to show, and what the power menu offers.

  /** @param {{object_type?: string, id?: string, change?: string}} message */
  #changed(message) {
    if (message.object_type === "vm" && message.id === this.dataset.vm) this.#look();
  }

  async #look() {
    window.clearTimeout(this.#timer);
    const attempt = this.#attempt;
    try {
      const answer = await fetch(this.dataset.state ?? "");
      if (!answer.ok) throw new Error(`${answer.status}`);
      const state = await answer.json();
      this.#power(state.power);
      if (this.channel || attempt !== this.#attempt || this.dataset.word === "connecting") return;
      if (state.ok && (this.dataset.word === "down" || this.dataset.word === "lost")) {
        this.#later();
        return;
      }
      if (!state.ok) this.say("down", state.reason);
    } catch {
      // Away: the next look tells.
    }
    if (!this.channel && this.dataset.word === "down") this.#timer = window.setTimeout(() => this.#look(), LOOK_AGAIN_MS);
  }

  /** @param {{name: string, ok: boolean, reason: string}[]} power */
  #power(power) {
    for (const { name, ok, reason } of power) {
      for (const form of this.querySelectorAll(`form[data-power="${name}"]`)) {
        const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
        button.disabled = !ok;
        button.title = reason;
        const why = form.querySelector("small");
        if (why) why.textContent = reason;
        if (form.hasAttribute("data-in-place")) /** @type {HTMLElement} */ (form).hidden = !ok;
      }
    }
  }

  // What the bar and the middle of the page say.

  /**
   * @param {"connecting"|"open"|"lost"|"down"|"taken"|"refused"|string} word
   * @param {string} reason
   */
  say(word, reason) {
    this.dataset.word = word;
    this.piece("state").textContent = { connecting: "Connecting", open: "Connected", lost: "Disconnected", down: "Not running", taken: "Taken over", refused: "Not connected" }[word] ?? word;
    this.piece("reason").textContent = reason;
    this.piece("curtain").hidden = word === "open";
    this.piece("again").hidden = word === "connecting" || word === "down" || word === "taken";
    this.piece("take-back").hidden = word !== "taken";
    for (const form of this.querySelectorAll("form[data-in-place]")) /** @type {HTMLElement} */ (form).hidden = word !== "down" || Boolean(form.querySelector("button:disabled"));
  }

  /** @param {import("./channel.js").Viewer[]} viewers */
  #viewers(viewers) {
    const others = viewers.filter((viewer) => !viewer.me).map((viewer) => viewer.name + (viewer.view_only ? " (looks on)" : ""));
    this.piece("viewers").textContent = others.length ? `Also here: ${others.join(", ")}` : "";
  }

  #fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.requestFullscreen?.();
  }
}
