// What a form would take of the user's quota, shown before it is sent. The server counts again.

/** @typedef {Record<string, number>} Cost */

const KIB = 1024;

/** @param {HTMLFormElement} form @param {string} name @returns {HTMLInputElement | null} */
const chosenCard = (form, name) => form.querySelector(`input[name="${name}"]:checked`);

/** @param {HTMLFormElement} form @param {string} name */
function valueOf(form, name) {
  const field = form.elements.namedItem(name);
  return field instanceof HTMLInputElement || field instanceof HTMLSelectElement ? field.value.trim() : "";
}

/** Bytes of "4G", "512 MiB", "2048", as the server reads them. @param {HTMLFormElement} form @param {string} name */
function bytesOf(form, name) {
  const field = form.elements.namedItem(name);
  const found = /^(\d+(?:[.,]\d+)?)\s*([kmgtp]?)(?:i?b)?$/i.exec(valueOf(form, name));
  if (!found || !(field instanceof HTMLInputElement)) return null;
  return Number(found[1]?.replace(",", ".")) * KIB ** " kmgtp".indexOf((found[2] || field.dataset.unit || "m").toLowerCase());
}

/** What the form asks for: a template's card costs, a size or what is typed overrides it. @param {HTMLFormElement} form @returns {Cost} */
function costOf(form) {
  /** @type {Cost} */
  let cost = {};
  for (const name of ["template", "size"]) cost = { ...cost, ...JSON.parse(chosenCard(form, name)?.dataset.cost ?? "{}") };
  const [cpus, memory, disk] = [Number(valueOf(form, "vcpus")), bytesOf(form, "memory_mib"), bytesOf(form, "disk_bytes")];
  if (cpus > 0) cost.vcpus = cpus;
  if (memory !== null) cost.memory_mib = Math.floor(memory / KIB / KIB);
  if (disk !== null && chosenCard(form, "template")?.value === "") cost.storage_bytes = disk;
  const start = form.elements.namedItem("start");
  if (start instanceof HTMLInputElement && !start.checked) cost = { ...cost, vcpus: 0, memory_mib: 0 };
  return cost;
}

/** Where it would run and lie; empty when only the server knows. @param {HTMLFormElement} form */
function placesOf(form) {
  const card = chosenCard(form, "template")?.dataset ?? {};
  return { cluster: valueOf(form, "cluster") || card.cluster || "", storage: valueOf(form, "storage_domain") || card.storage || "" };
}

/** @param {string} resource @param {number} amount */
function words(resource, amount) {
  if (resource === "vms" || resource === "vcpus") return String(amount);
  let [value, unit] = [resource === "memory_mib" ? amount * KIB * KIB : amount, 0];
  while (value >= KIB && unit < 4) [value, unit] = [value / KIB, unit + 1];
  return `${Number(value.toFixed(value < 10 ? 1 : 0))} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

/** @param {HTMLFormElement} form @param {HTMLElement} quota */
function show(form, quota) {
  const { cluster, storage } = placesOf(form);
  const wanted = valueOf(form, "quota");
  const counts = wanted ? wanted === quota.dataset.quota : !cluster || quota.dataset.clusters?.split(" ").includes(cluster);
  const cost = counts ? costOf(form) : {};
  const lacking = [];
  for (const share of quota.querySelectorAll("[data-share]")) {
    if (!(share instanceof HTMLElement)) continue;
    const { share: resource = "", place = "", used = "0", top = "0", limit = "0" } = share.dataset;
    const here = !place || place === (resource === "storage_bytes" ? storage : cluster);
    const more = here ? (cost[resource] ?? 0) : 0;
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
if (form instanceof HTMLFormElement && form.querySelector("[data-quota]")) {
  const quotas = /** @type {HTMLElement[]} */ ([...form.querySelectorAll("[data-quota]")]);
  const refresh = () => quotas.forEach((quota) => show(form, quota));
  // At the document, after forms.js: by then a chosen template has filled memory and CPUs in.
  for (const event of ["change", "input"]) document.addEventListener(event, refresh);
  refresh();
}
