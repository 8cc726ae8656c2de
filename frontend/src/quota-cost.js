// What a form would take of the user's quota, shown before it is sent. The server counts again.

/** @typedef {Record<string, number>} Cost */

/** What the chosen cards cost together: a size says CPUs and memory, else the template does. @param {HTMLFormElement} form @returns {Cost} */
function costOf(form) {
  /** @type {Cost} */
  let cost = {};
  for (const name of ["template", "size"]) {
    const chosen = form.querySelector(`input[name="${name}"]:checked`);
    if (chosen instanceof HTMLElement) cost = { ...cost, ...JSON.parse(chosen.dataset.cost ?? "{}") };
  }
  return cost;
}

const KIB = 1024;

/** @param {string} resource @param {number} amount */
function words(resource, amount) {
  if (resource === "vms" || resource === "vcpus") return String(amount);
  let [value, unit] = [resource === "memory_mib" ? amount * KIB * KIB : amount, 0];
  while (value >= KIB && unit < 4) [value, unit] = [value / KIB, unit + 1];
  return `${Number(value.toFixed(value < 10 ? 1 : 0))} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

/** @param {HTMLFormElement} form @param {HTMLElement} quota */
function show(form, quota) {
  const chosen = form.elements.namedItem("quota");
  const counts = !(chosen instanceof HTMLSelectElement) || chosen.value === quota.dataset.quota;
  const cost = counts ? costOf(form) : {};
  const lacking = [];
  for (const share of quota.querySelectorAll("[data-share]")) {
    if (!(share instanceof HTMLElement)) continue;
    const { share: resource = "", used = "0", top = "0", limit = "0" } = share.dataset;
    const more = cost[resource] ?? 0;
    const after = Number(used) + more;
    const text = share.querySelector("[data-share-used]");
    if (text) text.textContent = more ? `${words(resource, Number(used))} + ${words(resource, more)}` : words(resource, Number(used));
    const meter = share.querySelector("progress");
    if (meter) meter.value = after;
    meter?.classList.toggle("v-meter-hot", after > Number(limit));
    if (more && after > Number(top)) lacking.push(share.querySelector("dt")?.textContent ?? resource);
  }
  const note = quota.querySelector("[data-quota-note]");
  if (!(note instanceof HTMLElement)) return;
  note.hidden = lacking.length === 0;
  note.textContent = lacking.length ? `This is more than is left of: ${lacking.join(", ")}.` : "";
}

const form = document.querySelector("form[data-guard]");
if (form instanceof HTMLFormElement) {
  const quotas = /** @type {HTMLElement[]} */ ([...form.querySelectorAll("[data-quota]")]);
  const refresh = () => quotas.forEach((quota) => show(form, quota));
  form.addEventListener("change", refresh);
  refresh();
}
