// <vm-thumbnail src alt>: a VM's screen some seconds ago, kept fresh while somebody sees it. Empty while there is none.

const FRESH_MS = 5000;
const FIRST_MS = 1200; // the first look only asks a worker for a picture

class VmThumbnail extends HTMLElement {
  #timer = 0;
  #url = "";
  #seen = false;
  #watcher = new IntersectionObserver((entries) => {
    this.#seen = entries.some((entry) => entry.isIntersecting);
    if (this.#seen) this.#look();
  });

  connectedCallback() {
    this.#watcher.observe(this);
  }

  disconnectedCallback() {
    this.#watcher.disconnect();
    window.clearTimeout(this.#timer);
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = "";
  }

  async #look() {
    window.clearTimeout(this.#timer);
    if (!this.isConnected || !this.#seen) return;
    let wait = FRESH_MS;
    if (!document.hidden) {
      const answer = await fetch(this.getAttribute("src") ?? "", { headers: { "X-Live": "1" } }).catch(() => null);
      if (answer?.status === 200) this.#show(await answer.blob());
      else if (answer?.status === 204 && !this.#url) wait = FIRST_MS;
      else if (answer && answer.status >= 400) return;
    }
    this.#timer = window.setTimeout(() => this.#look(), wait);
  }

  /** @param {Blob} picture */
  #show(picture) {
    if (!this.isConnected) return;
    const image = this.querySelector("img") ?? this.appendChild(document.createElement("img"));
    const before = this.#url;
    this.#url = URL.createObjectURL(picture);
    image.alt = this.getAttribute("alt") ?? "";
    image.src = this.#url;
    if (before) URL.revokeObjectURL(before);
  }
}

customElements.define("vm-thumbnail", VmThumbnail);
