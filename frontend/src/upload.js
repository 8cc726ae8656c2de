// Uploads that can be paused and resumed, by the tus protocol: <form data-upload="ENDPOINT"> with a field "file".
// Where an unfinished one lies is the server's to say, so that another tab, or another browser, goes on with it.
import { DetailedError, Upload } from "tus-js-client";
import { csrfToken } from "./http.js";

// Of one request. What is lost when a connection breaks is sent again, and a proxy may limit the size of a body.
const CHUNK = 128 * 2 ** 20;
const RETRIES = [0, 1000, 3000, 5000, 10000, 20000];
const WINDOW_SECONDS = 10;

/** @param {number} bytes */
function words(bytes) {
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < 4) [value, unit] = [value / 1024, unit + 1];
  return `${Number(value.toFixed(value < 10 && unit ? 1 : 0))} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

/** The server's own sentence where it gave one. @param {Error | DetailedError} error */
function reason(error) {
  if (!(error instanceof DetailedError) || !error.originalResponse) return "The server cannot be reached. Resume when it is back: nothing that was sent is lost.";
  const body = error.originalResponse.getBody();
  try {
    return JSON.parse(body).detail;
  } catch {
    return body && body.length < 500 && !body.includes("<") ? body : `The server answered with status ${error.originalResponse.getStatus()}.`;
  }
}

/** An unfinished upload of this very file, of those that the page lists. @param {File} file @returns {string | null} */
function unfinished(file) {
  for (const row of document.querySelectorAll("[data-unfinished]")) {
    if (!(row instanceof HTMLElement)) continue;
    const { file: name, length, modified, unfinished: url } = row.dataset;
    if (name === file.name && Number(length) === file.size && Number(modified) === file.lastModified) return url ?? null;
  }
  return null;
}

class UploadForm {
  /** @param {HTMLFormElement} form */
  constructor(form) {
    this.form = form;
    /** @type {Upload | null} */
    this.upload = null;
    /** @type {[number, number][]} times and bytes of the last seconds */
    this.seen = [];
    form.addEventListener("submit", (event) => this.start(event));
    this.part("pause").addEventListener("click", () => this.pause());
    this.part("resume").addEventListener("click", () => this.go());
    form.addEventListener("change", () => this.chosen());
    window.addEventListener("beforeunload", (event) => {
      if (this.part("pause").hidden === false) event.preventDefault();
    });
  }

  /** @param {string} name @returns {HTMLElement} */
  part(name) {
    return /** @type {HTMLElement} */ (this.form.querySelector(`[data-upload-${name}]`));
  }

  /** @param {string} name */
  value(name) {
    const field = this.form.elements.namedItem(name);
    return field instanceof HTMLInputElement || field instanceof HTMLSelectElement ? field.value.trim() : "";
  }

  get file() {
    const field = this.form.elements.namedItem("file");
    return field instanceof HTMLInputElement ? (field.files?.[0] ?? null) : null;
  }

  chosen() {
    const goesOn = this.file && unfinished(this.file);
    this.part("start").lastChild?.replaceWith(goesOn ? "Go on with the upload" : "Upload");
  }

  /** @param {Event} event */
  start(event) {
    event.preventDefault();
    const file = this.file;
    if (!file) return;
    const metadata = {
      filename: file.name,
      modified: String(file.lastModified),
      domain: this.value("domain"),
      name: this.value("name"),
      format: this.value("to_format"),
      sha256: this.value("sha256"),
      quota: this.value("quota"),
    };
    this.upload = new Upload(file, {
      endpoint: this.form.dataset.upload,
      uploadUrl: unfinished(file),
      chunkSize: CHUNK,
      retryDelays: RETRIES,
      metadata: Object.fromEntries(Object.entries(metadata).filter(([, value]) => value)),
      storeFingerprintForResuming: false,
      onBeforeRequest: (request) => request.setHeader("X-CSRFToken", csrfToken()),
      onProgress: (sent, total) => this.progress(sent, total),
      onError: (error) => this.stopped(reason(error)),
      onSuccess: ({ lastResponse }) => this.done(lastResponse.getHeader("Vireo-Next")),
    });
    this.go();
  }

  go() {
    this.seen = [];
    this.say("Uploading");
    this.show({ state: true, error: false, start: false, pause: true, resume: false });
    this.upload?.start();
  }

  async pause() {
    await this.upload?.abort();
    this.say("Paused");
    this.part("rate").textContent = "";
    this.show({ pause: false, resume: true });
  }

  /** @param {string} why */
  stopped(why) {
    /** @type {HTMLElement} */ (this.part("error").firstElementChild).textContent = why;
    const begun = Boolean(this.upload?.url);
    if (begun) this.say("Interrupted");
    this.show({ error: true, state: begun, pause: false, resume: begun, start: !begun });
  }

  /** @param {string | undefined} next */
  done(next) {
    this.say("Uploaded");
    this.show({ pause: false, resume: false });
    location.assign(next || "/images/");
  }

  /** @param {string} text */
  say(text) {
    const words = this.part("words");
    if (words.textContent !== text) words.textContent = text;
  }

  /** @param {Record<string, boolean>} parts */
  show(parts) {
    for (const [name, shown] of Object.entries(parts)) this.part(name).hidden = !shown;
  }

  /** @param {number} sent @param {number | null} total */
  progress(sent, total) {
    const now = performance.now() / 1000;
    this.seen = [...this.seen.filter(([at]) => now - at < WINDOW_SECONDS), [now, sent]];
    const [first] = this.seen;
    const speed = first && now - first[0] > 0.5 ? (sent - first[1]) / (now - first[0]) : 0;
    const left = speed > 0 && total ? ` · ${words(speed)}/s · ${duration((total - sent) / speed)} left` : "";
    this.part("rate").textContent = `${words(sent)} of ${words(total ?? 0)}${left}`;
    const meter = this.form.querySelector("progress");
    if (meter && total) meter.value = (100 * sent) / total;
  }
}

for (const form of document.querySelectorAll("form[data-upload]")) {
  if (form instanceof HTMLFormElement) new UploadForm(form);
}
