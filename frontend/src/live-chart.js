// <live-chart src topic metrics="cpu_percent" unit="percent" label="CPU">: the last hour, then live. A gap is drawn as a gap.
import uPlot from "uplot";
import { live } from "./live.js";

const HEIGHT = 150;
const COLOURS = ["--v-chart-1", "--v-chart-2"];
const NAMES = { cpu_percent: "CPU", memory_bytes: "Memory", disk_read_bps: "Read", disk_write_bps: "Write", net_rx_bps: "In", net_tx_bps: "Out" };

/** @param {number | null | undefined} value @param {string} unit */
export function format(value, unit) {
  if (value === null || value === undefined) return "—";
  if (unit === "percent") return `${value.toFixed(value < 10 ? 1 : 0)} %`;
  const steps = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  while (value >= 1024 && step < steps.length - 1) {
    value /= 1024;
    step++;
  }
  return `${value.toFixed(step && value < 10 ? 1 : 0)} ${steps[step]}${unit === "bps" ? "/s" : ""}`;
}

class LiveChart extends HTMLElement {
  /** @type {uPlot | null} */ #plot = null;
  /** @type {(number | null)[][]} */ #data = [];
  #end = new AbortController();
  /** @type {ResizeObserver | null} */ #sizes = null;

  get #metrics() {
    return (this.getAttribute("metrics") ?? "").split(" ").filter(Boolean);
  }

  get #unit() {
    return this.getAttribute("unit") ?? "percent";
  }

  async connectedCallback() {
    const topic = this.getAttribute("topic") ?? "";
    live.subscribe([topic]);
    live.addEventListener(`metrics ${topic}`, (event) => this.#append(/** @type {CustomEvent} */ (event).detail), { signal: this.#end.signal });
    live.addEventListener("refetch", () => void this.#load(), { signal: this.#end.signal });
    document.addEventListener("theme:changed", () => this.#draw(), { signal: this.#end.signal });
    this.#sizes = new ResizeObserver(() => this.#plot?.setSize({ width: this.clientWidth, height: HEIGHT }));
    this.#sizes.observe(this);
    await this.#load();
  }

  disconnectedCallback() {
    this.#end.abort();
    this.#sizes?.disconnect();
    this.#plot?.destroy();
    live.unsubscribe([this.getAttribute("topic") ?? ""]);
  }

  async #load() {
    try {
      const answer = await fetch(this.getAttribute("src") ?? "", { headers: { "X-Live": "1" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const columns = await answer.json();
      this.#data = [columns.at, ...this.#metrics.map((name) => columns[name])];
      this.#draw();
    } catch {
      this.textContent = "The history could not be loaded.";
    }
  }

  /** @param {{at: number, values: Record<string, number|null>}} frame */
  #append(frame) {
    if (!this.#data.length) return;
    this.#data[0].push(frame.at);
    this.#metrics.forEach((name, index) => this.#data[index + 1].push(frame.values[name] ?? null));
    const oldest = frame.at - 3600;
    while (this.#data[0].length && /** @type {number} */ (this.#data[0][0]) < oldest) for (const column of this.#data) column.shift();
    if (this.#plot) this.#plot.setData(/** @type {any} */ (this.#data));
    else this.#draw();
    this.#now(frame.values);
  }

  /** @param {Record<string, number|null>} values */
  #now(values) {
    const shown = this.closest(".v-card")?.querySelector("[data-chart-now]");
    if (shown) shown.textContent = this.#metrics.map((name) => format(values[name], this.#unit)).join(" · ");
    this.dataset.points = String(this.#data[0].length);
  }

  #draw() {
    this.#plot?.destroy();
    this.#plot = null;
    this.replaceChildren();
    this.dataset.points = String(this.#data[0]?.length ?? 0);
    if (!this.#data[0]?.length) {
      const empty = document.createElement("p");
      empty.className = "v-chart-empty";
      empty.textContent = this.getAttribute("empty") ?? "No numbers yet: they begin when it runs.";
      this.append(empty);
      return;
    }
    const style = getComputedStyle(document.documentElement);
    const line = style.getPropertyValue("--v-stroke");
    const text = style.getPropertyValue("--v-content-dim");
    const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px Inter Variable, sans-serif" };
    const unit = this.#unit;
    this.#plot = new uPlot(
      {
        width: this.clientWidth || 300,
        height: HEIGHT,
        cursor: { sync: { key: "vireo" }, y: false },
        legend: { show: this.#metrics.length > 1, live: false },
        scales: { y: { range: (_, __, max) => [0, unit === "percent" ? Math.max(5, Math.min(100, max * 1.2)) : Math.max(1024, (max || 0) * 1.2)] } },
        axes: [
          { ...axis, size: 24, space: 80, values: (_, ticks) => ticks.map((tick) => new Date(tick * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" })) },
          { ...axis, size: 62, space: 36, values: (_, ticks) => ticks.map((tick) => format(tick, unit)) },
        ],
        series: [
          {},
          ...this.#metrics.map((name, index) => ({
            label: NAMES[/** @type {keyof typeof NAMES} */ (name)] ?? name,
            stroke: style.getPropertyValue(COLOURS[index]),
            fill: index === 0 && this.#metrics.length === 1 ? style.getPropertyValue("--v-chart-fill") : undefined,
            width: 1.5,
            spanGaps: false,
            points: { show: false },
          })),
        ],
      },
      /** @type {any} */ (this.#data),
      this,
    );
  }
}

customElements.define("live-chart", LiveChart);
