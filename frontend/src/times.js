// <time datetime> as people say it ("3 min ago"), with the exact time in the reader's own zone on hover.

const STEPS = /** @type {[number, Intl.RelativeTimeFormatUnit][]} */ ([
  [60, "second"], [3600, "minute"], [86400, "hour"], [86400 * 30, "day"], [86400 * 365, "month"], [Infinity, "year"],
]);
const SECONDS = { second: 1, minute: 60, hour: 3600, day: 86400, month: 86400 * 30, year: 86400 * 365 };
const format = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });

export function refreshTimes() {
  for (const element of /** @type {NodeListOf<HTMLTimeElement>} */ (document.querySelectorAll("time[datetime]"))) {
    const at = new Date(element.dateTime);
    const seconds = (at.getTime() - Date.now()) / 1000;
    const unit = STEPS.find(([limit]) => Math.abs(seconds) < limit)?.[1] ?? "year";
    const text = element.hasAttribute("data-exact")
      ? at.toLocaleString()
      : Math.abs(seconds) < 5
        ? "now"
        : format.format(Math.round(seconds / SECONDS[/** @type {keyof typeof SECONDS} */ (unit)]), unit);
    if (element.textContent !== text) element.textContent = text;
    element.title = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
  }
}

refreshTimes();
window.setInterval(refreshTimes, 10000);
