// A console's WebSocket: the ticket, the answer, news as text, and the console's own bytes.
// It has the properties that noVNC asks of a channel, so that noVNC can have it while we keep the text messages.
import { post } from "../http.js";

/** @typedef {{name: string, view_only: boolean, me: boolean}} Viewer */
/** @typedef {{op: string, code?: string, reason?: string, retry?: boolean, holder?: string, view_only?: boolean, viewers?: Viewer[]}} News */

/** Why a console could not be opened, or ended. */
export class Ending extends Error {
  /**
   * @param {string} code as the server names it; "down" and "forbidden" also come from the ticket, "lost" is ours
   * @param {string} reason
   * @param {boolean} retry trying again by itself makes sense
   * @param {string} [holder] who is in the console
   */
  constructor(code, reason, retry, holder = "") {
    super(reason);
    this.code = code;
    this.reason = reason;
    this.retry = retry;
    this.holder = holder;
  }
}

const lost = () => new Ending("lost", "The connection to Vireo was lost.", true);

export class Channel {
  // noVNC looks for these names on the object itself.
  binaryType = "arraybuffer";
  protocol = "";
  /** @type {(() => void) | null} */ onopen = null;
  /** @type {((event: CloseEvent) => void) | null} */ onclose = null;
  /** @type {((event: Event) => void) | null} */ onerror = null;
  /** @type {(news: News) => void} */ onnews = () => {};
  /** @type {(ending: Ending) => void} */ onending = () => {};

  /** @type {((event: MessageEvent) => void) | null} */ #onmessage = null;
  /** @type {MessageEvent[]} */ #early = [];
  /** @type {Ending | null} */ #ending = null;

  /** @param {WebSocket} socket */
  constructor(socket) {
    this.socket = socket;
    socket.binaryType = "arraybuffer";
  }

  get onmessage() {
    return this.#onmessage;
  }

  /** Who listens late gets what came before; noVNC begins to some time after it was made. */
  set onmessage(listener) {
    this.#onmessage = listener;
    const early = this.#early;
    this.#early = [];
    for (const event of early) queueMicrotask(() => listener?.(event));
  }

  get readyState() {
    return this.socket.readyState;
  }

  /** @param {ArrayBufferView | ArrayBuffer} data */
  send(data) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(/** @type {ArrayBuffer} */ (data));
  }

  close() {
    this.socket.close();
  }

  /**
   * Asks for a ticket, connects, and returns the open channel with the server's first news.
   * @param {string} ticketUrl
   * @param {{kind: string, takeOver?: boolean, viewOnly?: boolean}} wish
   * @returns {Promise<{channel: Channel, news: News}>}
   * @throws {Ending}
   */
  static async open(ticketUrl, wish) {
    const body = new URLSearchParams({ kind: wish.kind, take_over: wish.takeOver ? "1" : "", view_only: wish.viewOnly ? "1" : "" });
    const answer = await post(ticketUrl, body).catch(() => {
      throw lost();
    });
    if (answer.status === 401) location.reload();
    if (answer.status === 409) throw new Ending("down", (await answer.json()).reason, false);
    if (answer.status === 403 || answer.status === 404) throw new Ending("forbidden", "You may not use this console, or its VM is gone.", false);
    if (!answer.ok) throw new Ending("unreachable", `Vireo answered ${answer.status}.`, true);
    const { ticket, socket: path } = await answer.json();
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const channel = new Channel(new WebSocket(`${scheme}://${location.host}${path}`));
    return { channel, news: await channel.#begin(ticket) };
  }

  /**
   * @param {string} ticket
   * @returns {Promise<News>}
   */
  #begin(ticket) {
    return new Promise((resolve, reject) => {
      this.socket.onopen = () => this.socket.send(JSON.stringify({ ticket }));
      this.socket.onclose = () => reject(this.#ending ?? lost());
      this.socket.onmessage = (event) => {
        if (typeof event.data !== "string") return;
        const news = JSON.parse(event.data);
        if (news.op === "open") {
          this.#carryOn();
          resolve(news);
        } else if (news.op === "refused") {
          reject(new Ending(news.code, news.reason, news.retry, news.holder));
        }
      };
    });
  }

  #carryOn() {
    this.socket.onmessage = (event) => {
      if (typeof event.data === "string") this.#hear(JSON.parse(event.data));
      else if (this.#onmessage) this.#onmessage(event);
      else this.#early.push(event);
    };
    this.socket.onerror = (event) => this.onerror?.(event);
    this.socket.onclose = (event) => {
      const ending = this.#ending ?? lost();
      this.onclose?.(event);
      this.onending(ending);
    };
  }

  /** @param {News} news */
  #hear(news) {
    if (news.op === "closed") this.#ending = new Ending(news.code ?? "", news.reason ?? "", Boolean(news.retry));
    else this.onnews(news);
  }
}
