// What every page of the inbox does besides htmx. Everything works without it.
"use strict";

(() => {
  const body = document.body;
  const base = body.dataset.inbox;

  // The server writes times in the zone that this cookie names.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && zone !== body.dataset.zone) {
    document.cookie =
      `gateway_zone=${zone}; path=${base}; max-age=31536000; samesite=lax` +
      (location.protocol === "https:" ? "; secure" : "");
  }

  // The notice of what was done is shown once: not again after a reload, or after going back.
  const here = new URL(location.href);
  if (here.searchParams.has("done")) {
    here.searchParams.delete("done");
    history.replaceState(history.state, "", here);
  }

  // A notice of an error is closed by its button, or with Escape.
  const problem = document.getElementById("problem");
  const failed = new Set();  // elements whose last request failed
  function close() {
    problem.replaceChildren();
    failed.clear();
  }
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]")) close();
    for (const menu of document.querySelectorAll("details.account[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    close();
    for (const menu of document.querySelectorAll("details.account[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // Requests that a page makes by itself must not keep its session alive.
  body.addEventListener("htmx:configRequest", ({ detail }) => {
    if (!detail.triggeringEvent?.isTrusted) detail.headers["X-By-Itself"] = "1";
  });

  // Somebody who was signed out may sign in in another tab, and go on here. The page takes over the new
  // session when they come back to it, or when a request was refused because the page is older.
  async function renew() {
    const older = problem.querySelector("[data-older]");
    if (document.hidden || !(older || problem.querySelector("[data-signed-out]"))) return;
    const theirs = await firstPage();
    if (!theirs || theirs.dataset.who !== body.dataset.who) return;
    const headers = theirs.getAttribute("hx-headers");
    body.setAttribute("hx-headers", headers);
    const token = JSON.parse(headers)["X-CSRF-Token"];
    for (const field of document.querySelectorAll('input[name="csrf"]')) field.value = token;
    if (older) older.removeAttribute("data-older");  // the notice stays: it says to try again, which works now
    else close();
    document.dispatchEvent(new Event("renewed"));
  }
  window.addEventListener("focus", renew);
  document.addEventListener("visibilitychange", renew);
  body.addEventListener("htmx:afterSwap", () => { if (problem.querySelector("[data-older]")) renew(); });

  // The notice of a refusal stays until everything that failed has been answered: answers to other
  // requests do not mean that the message is sent, nor does the form for another channel.
  const refusal = () => problem.querySelector(".notice.bad:not([data-signed-out])");
  const asker = ({ requestConfig: { elt } }) => (elt.id === "composer" ? elt.id : elt);
  body.addEventListener("htmx:responseError", ({ detail }) => failed.add(asker(detail)));
  // If the server was not reached at all, htmx has nothing to show.
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    body.addEventListener(name, ({ detail }) => {
      failed.add(asker(detail));
      const notice = document.createElement("div");
      notice.id = "unreached";
      notice.className = "notice bad";
      notice.innerHTML = "<p>The server was not reached. Look at your connection and try again.</p>"
        + '<button type="button" class="small secondary outline" data-close>Close</button>';
      problem.replaceChildren(notice);
    });
  }
  body.addEventListener("htmx:afterRequest", ({ detail }) => {
    // A form that must be corrected (422) says itself what is wrong.
    if (!detail.successful && detail.xhr.status !== 422) return;
    failed.delete(asker(detail));
    if (![...failed].some((each) => each === "composer" || each.isConnected)) refusal()?.remove();
  });

  // Buttons with `data-ask` ask first, if a separate page would be too much.
  document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.ask;
    if (question && !window.confirm(question)) event.preventDefault();
  });

  // A form is sent only once, however often its button is pressed.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (form.dataset.sent) return event.preventDefault();
    form.dataset.sent = "1";
    const allow = () => delete form.dataset.sent;
    window.addEventListener("pageshow", allow, { once: true });
    setTimeout(allow, 5000);  // the page may stay: somebody presses Stop, or chooses not to leave
  });
})();
