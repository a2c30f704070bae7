// The stream of events from the server: each is passed on to the page as a "told" event.
"use strict";

(() => {
  const base = document.body.dataset.inbox;
  let after = document.getElementById("rows").dataset.after;
  const tell = (detail) => document.dispatchEvent(new CustomEvent("told", { detail }));

  // Over HTTP/1.1 a browser opens six connections to a host, for all its windows. So three visible
  // windows keep one each (a seat), and the others poll every few seconds until a seat is free.
  const SEATS = 3;
  let leave = null;
  async function isSeated() {
    const [page] = performance.getEntriesByType("navigation");
    if (leave || !navigator.locks || /^h[23]/.test(page?.nextHopProtocol)) return true;
    for (let seat = 0; seat < SEATS && !leave; seat++) await take(`inbox ${base} ${seat}`);
    return leave !== null;
  }

  function take(name) {
    return new Promise((answer) => {
      navigator.locks.request(name, { ifAvailable: true }, (lock) => {
        if (!lock || leave) return answer();
        return new Promise((done) => { leave = done; answer(); });
      }).catch(answer);
    });
  }

  // After any answer but a stream (from a proxy while the gateway restarts) the browser does not
  // reconnect. So this does, from the last position; until then the page shows a notice.
  let events = null;
  let isBeginning = false;
  let pause = 1000;
  async function hear() {
    if (events || isBeginning) return;
    if (document.hidden) return hush();
    isBeginning = true;
    const isOpen = await isSeated();
    isBeginning = false;
    if (document.hidden) return hush();
    const look = isOpen ? "" : "&look=1";  // the server ends the stream, and the browser reconnects
    const stream = events = new EventSource(`${base}/live?after=${encodeURIComponent(after)}${look}`);
    stream.onopen = () => { pause = 1000; document.getElementById("deaf")?.remove(); };
    stream.onerror = async () => {
      if (stream !== events) return;
      if (stream.readyState === EventSource.CLOSED) {
        events = null;
        sayDeaf();
        tell({ type: "look" });  // shows whether nobody is signed in any more
        setTimeout(hear, pause * (0.5 + Math.random()));  // so that not all pages reconnect at once
        pause = Math.min(pause * 2, 60000);
      } else if (!isOpen && await isSeated()) {
        if (stream === events) hush(false);
        hear();
      }
    };
    stream.onmessage = (event) => {
      after = event.lastEventId;
      tell(JSON.parse(event.data));
    };
  }

  function hush(isAway = true) {
    events?.close();
    events = null;
    if (!isAway) return;
    leave?.();
    leave = null;
  }

  // Hidden pages give up their connection, and refresh the list now and then. When they are visible
  // again, they get the events that they missed.
  let away = 0;
  let looking = 0;
  function rest() {
    hush();
    looking = setInterval(() => tell({ type: "look" }), 30000);
  }
  document.addEventListener("visibilitychange", () => {
    clearTimeout(away);
    clearInterval(looking);
    if (document.hidden) away = setTimeout(rest, 5000); else hear();
  });
  window.addEventListener("pagehide", () => hush());
  document.addEventListener("renewed", () => { pause = 1000; hear(); });

  // A page from the browser's back/forward cache comes back as it was left, with what is written on it.
  // It is reloaded if nobody, or somebody else, is signed in.
  window.addEventListener("pageshow", async (event) => {
    if (!event.persisted) return;
    const page = await firstPage();
    if (page && page.dataset.who !== document.body.dataset.who) return location.reload();
    hear();
    tell({ type: "look" });
  });

  function sayDeaf() {
    const problem = document.getElementById("problem");
    if (problem.querySelector("[data-signed-out]")) return;  // that notice explains it, and renew() needs it
    const notice = document.createElement("p");
    notice.id = "deaf";
    notice.className = "notice warn";
    notice.textContent = "New messages are not arriving just now; trying again. If this stays, reload the page.";
    document.getElementById("deaf")?.remove();
    problem.append(notice);  // the notice of a refusal stays
  }
  if (document.hidden) rest(); else hear();
})();
