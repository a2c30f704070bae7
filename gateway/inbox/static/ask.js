// Requests that a page makes by itself.
"use strict";

// The answer's text; null if the request is refused, undefined if it may succeed later.
async function ask(url, body) {
  try {
    const session = document.body.getAttribute("hx-headers");  // changes when somebody signs in again
    const headers = { ...JSON.parse(session), "HX-Request": "true", "X-By-Itself": "1" };
    const method = body ? "POST" : "GET";
    const signal = AbortSignal.timeout(20000);
    const answer = await fetch(url, { method, body, headers, credentials: "same-origin", signal });
    if (answer.ok) return await answer.text();
    if (answer.status === 401 && session !== document.body.getAttribute("hx-headers")) return undefined;
    if (answer.status === 401) document.getElementById("problem").innerHTML = await answer.text();
    return answer.status < 500 ? null : undefined;
  } catch {
    return undefined;
  }
}

// The body of the inbox's first page, for whoever is signed in now; null if it cannot be loaded.
async function firstPage() {
  const headers = { "X-By-Itself": "1" };
  const signal = AbortSignal.timeout(20000);
  try {
    const answer = await fetch(document.body.dataset.inbox, { headers, credentials: "same-origin", signal });
    return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html").body : null;
  } catch {
    return null;
  }
}
