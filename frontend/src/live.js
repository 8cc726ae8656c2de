// One WebSocket per page: subscriptions to topics, reconnect with back-off, and the banner that says that we were away.
import { toast } from "./toasts.js";

const BACKOFF = [500, 1000, 2000, 4000, 8000, 15000];
const PING_MS = 20000;

/** @typedef {{op: string, topic?: string, topics?: string[], object_type?: string, id?: string, change?: string, rev?: number, facts?: Record<string, any>, at?: number, values?: Record<string, number|null>, refused?: string[]}} Message */

class Live extends EventTarget {
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {Map<string, number>} */ #topics = new Map();
  #tries = 0;
  /** @type {Date | null} */ #awaySince = null;
  #pinger = 0;

  /** @param {string[]} topics */
  subscribe(topics) {
    const fresh = topics.filter((topic) => !this.#topics.has(topic));
    for (const topic of topics) this.#topics.set(topic, (this.#topics.get(topic) ?? 0) + 1);
    if (!this.#socket) this.#open();
    else if (fresh.length) this.#send({ op: "subscribe", topics: fresh });
  }

  /** @param {string[]} topics */
  unsubscribe(topics) {
    const gone = topics.filter((topic) => {
      const left = (this.#topics.get(topic) ?? 0) - 1;
      if (left > 0) this.#topics.set(topic, left);
      else this.#topics.delete(topic);
      return left <= 0;
    });
    if (gone.length) this.#send({ op: "unsubscribe", topics: gone });
  }

  /** @param {object} message */
  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws/live`);
    this.#socket = socket;
    socket.onopen = () => {
      this.#tries = 0;
      this.#send({ op: "subscribe", topics: [...this.#topics.keys()] });
      this.#pinger = window.setInterval(() => this.#send({ op: "ping" }), PING_MS);
      if (this.#awaySince) this.#back();
    };
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = (event) => this.#closed(event.code);
  }

  /** @param {Message} message */
  #receive(message) {
    if (message.op === "change") this.dispatchEvent(new CustomEvent("change", { detail: message }));
    else if (message.op === "metrics") this.dispatchEvent(new CustomEvent(`metrics ${message.topic}`, { detail: message }));
    else if (message.op === "subscribed") this.dispatchEvent(new Event("subscribed"));
    else if (message.op === "notice") this.dispatchEvent(new CustomEvent("notice", { detail: message }));
    else if (message.op === "refetch") this.dispatchEvent(new Event("refetch"));
    else if (message.op === "revoked") {
      toast("You may no longer see everything on this page.", "warning");
      this.dispatchEvent(new Event("refetch"));
    }
  }

  /** @param {number} code */
  #closed(code) {
    window.clearInterval(this.#pinger);
    this.#socket = null;
    if (code === 4401) {
      location.reload(); // signed out elsewhere: the server shows the sign-in page
      return;
    }
    this.#awaySince ??= new Date();
    this.#banner(`Connection lost. What you see is as of ${this.#awaySince.toLocaleTimeString()}; reconnecting…`);
    document.documentElement.toggleAttribute("data-stale", true);
    const wait = BACKOFF[Math.min(this.#tries++, BACKOFF.length - 1)];
    window.setTimeout(() => this.#open(), wait * (0.8 + Math.random() * 0.4));
  }

  #back() {
    const since = this.#awaySince?.toLocaleTimeString();
    this.#awaySince = null;
    document.documentElement.toggleAttribute("data-stale", false);
    this.#banner("");
    toast(`Back: this page was away since ${since} and has caught up.`, "info");
    this.dispatchEvent(new Event("refetch"));
  }

  /** @param {string} text */
  #banner(text) {
    const banner = document.getElementById("away");
    if (!banner) return;
    banner.hidden = !text;
    banner.textContent = text;
  }
}

export const live = new Live();
