// The stream of what happens: each event of it is told to the page as "told".
"use strict";

(() => {
  const base = document.body.dataset.inbox;
  let after = document.getElementById("rows").dataset.after;
  const tell = (detail) => document.dispatchEvent(new CustomEvent("told", { detail }));

  // Over HTTP/1.1 a browser has six connections to a host for all its windows: three of those that
  // are seen hold one, and the others ask every few seconds. A seat that becomes free is taken.
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

  // Who is answered anything but a stream (by a proxy while the gateway begins anew) is never asked
  // again by the browser: so it is done here, from the last place, and said meanwhile.
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
    const look = isOpen ? "" : "&look=1";  // which ends by itself, and the browser comes again
    const stream = events = new EventSource(`${base}/live?after=${encodeURIComponent(after)}${look}`);
    stream.onopen = () => { pause = 1000; document.getElementById("deaf")?.remove(); };
    stream.onerror = async () => {
      if (stream !== events) return;
      if (stream.readyState === EventSource.CLOSED) {
        events = null;
        sayDeaf();
        tell({ type: "look" });  // which says where nobody is signed in any more
        setTimeout(hear, pause * (0.5 + Math.random()));  // not all pages at once
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

  // Pages that nobody sees leave their connections to those that somebody opens, and look now and
  // then what is unread. Seen again, they hear what they missed.
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

  // A page that the browser kept comes back as it was left, with what is written on it; but not to
  // somebody who is not signed in, or is somebody else.
  window.addEventListener("pageshow", async (event) => {
    if (!event.persisted) return;
    const answer = await fetch(base, { credentials: "same-origin" }).catch(() => null);
    const page = new DOMParser().parseFromString(await answer?.text() ?? "", "text/html").body;
    if (answer?.ok && page.dataset.who !== document.body.dataset.who) return location.reload();
    hear();
    tell({ type: "look" });
  });

  function sayDeaf() {
    const notice = document.createElement("p");
    notice.id = "deaf";
    notice.className = "notice warn";
    notice.textContent = "What is new does not come in just now: trying again. If this stays, load the page again.";
    document.getElementById("problem").replaceChildren(notice);
  }
  if (document.hidden) rest(); else hear();
})();
