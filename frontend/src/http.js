// Requests to our own pages, with the CSRF token that Django's cookie carries.

/** @returns {string} */
export function csrfToken() {
  const found = document.cookie.match(/(?:^|;\s*)csrftoken=([^;]+)/);
  return found ? decodeURIComponent(found[1]) : "";
}

/**
 * Posts form data as a page's own form would.
 * @param {string} url
 * @param {FormData | URLSearchParams} [body]
 */
export function post(url, body) {
  return fetch(url, { method: "POST", body, headers: { "X-CSRFToken": csrfToken(), "HX-Request": "true" }, redirect: "follow" });
}

/**
 * A page of ours, parsed; null when it could not be had.
 * @param {string} url
 * @returns {Promise<Document | null>}
 */
export async function page(url) {
  try {
    const answer = await fetch(url, { headers: { "X-Live": "1" } });
    if (!answer.ok) return null;
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return null; // away: the socket's own banner says so
  }
}
