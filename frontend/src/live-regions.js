// Parts of a page that follow the objects they show: [data-live="vm host:…"] with an id. A change fetches the page again
// and morphs those parts, so that focus, selection, open menus and scroll position stay.
import { Idiomorph } from "idiomorph";
import { live } from "./live.js";
import { page } from "./http.js";
import { refreshTimes } from "./times.js";

const PAUSE_MS = 60;
/** What the reader set is the reader's. */
const KEPT_ATTRIBUTES = new Set(["checked", "open", "value"]);

const morphing = {
  morphStyle: /** @type {"outerHTML"} */ ("outerHTML"),
  ignoreActiveValue: true,
  callbacks: {
    beforeAttributeUpdated: (/** @type {string} */ name) => !KEPT_ATTRIBUTES.has(name),
    beforeNodeMorphed: (/** @type {Node} */ node) => !(node instanceof Element && node.hasAttribute("data-live-keep")),
  },
};

let due = 0;
let running = false;
let again = false;
let lastTook = 0;

const regions = () => /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-live][id]")]);

/** @param {{object_type: string, id: string}} change */
function concerns(change) {
  return regions().some((region) => {
    const topics = (region.dataset.live ?? "").split(/\s+/);
    return topics.includes(change.object_type) || topics.includes(`${change.object_type}:${change.id}`);
  });
}

function schedule() {
  if (running) {
    again = true;
    return;
  }
  window.clearTimeout(due);
  // A page that is slow to make is asked for less often.
  due = window.setTimeout(refresh, Math.max(PAUSE_MS, lastTook * 2));
}

async function refresh() {
  running = true;
  const began = performance.now();
  const fresh = await page(location.href);
  lastTook = Math.min(performance.now() - began, 5000);
  if (fresh) {
    for (const region of regions()) {
      const next = fresh.getElementById(region.id);
      if (next) Idiomorph.morph(region, next, morphing);
      else region.toggleAttribute("data-gone", true);
    }
    refreshTimes();
    document.dispatchEvent(new Event("live:refreshed"));
  }
  running = false;
  if (again) {
    again = false;
    schedule();
  }
}

function subscribe() {
  const topics = new Set(regions().flatMap((region) => (region.dataset.live ?? "").split(/\s+/).filter(Boolean)));
  if (topics.size) live.subscribe([...topics]);
}

live.addEventListener("change", (event) => {
  if (concerns(/** @type {CustomEvent} */ (event).detail)) schedule();
});
live.addEventListener("refetch", schedule);
// What changed between the making of the page and its subscription was told to nobody.
live.addEventListener("subscribed", schedule, { once: true });
subscribe();
