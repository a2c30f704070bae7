// Conversations while somebody looks: what is new appears, keys lead through. All works without it.
"use strict";

(() => {
  const base = document.body.dataset.inbox;
  const middle = document.querySelector("[data-conversation]");
  const conversation = middle?.dataset.conversation;
  const scroll = document.getElementById("thread");
  const messages = document.getElementById("messages");
  const rows = document.getElementById("rows");
  const said = document.getElementById("live");
  const title = document.title.replace(/^\(\d+\+?\) /, "");
  document.documentElement.classList.add("has-js");

  // ------------------------------------------------------------- what is unread, and where one is

  function showUnread(count) {
    document.title = (count ? `(${count >= 100 ? "99+" : count}) ` : "") + title;
  }

  function isAtEnd() {
    return scroll && scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 120;
  }

  function toEnd() {
    if (scroll) scroll.scrollTop = scroll.scrollHeight;
  }

  let isMarked = !middle || middle.dataset.unreadHere === "0";
  function markRead() {
    if (!middle || isMarked || document.hidden || !document.hasFocus()) return;
    isMarked = true;
    htmx.ajax("POST", middle.dataset.read, { swap: "none", values: { do: "read" } });
    middle.querySelector("[data-unread-badge]")?.remove();
    const button = middle.querySelector(".mark button");
    button.value = "unread";
    button.textContent = "Mark as unread";
  }

  // The end stays in sight while pictures come in, until somebody looks further up.
  if (scroll && !location.hash) {
    let follows = true;
    let isTouched = false;
    for (const kind of ["wheel", "touchmove", "keydown", "pointerdown"]) {
      scroll.addEventListener(kind, () => { isTouched = true; }, { passive: true });
    }
    scroll.addEventListener("scroll", () => { if (isTouched) follows = isAtEnd(); }, { passive: true });
    new ResizeObserver(() => { if (follows) toEnd(); }).observe(messages);
    new ResizeObserver(() => { if (follows) toEnd(); }).observe(scroll);
    toEnd();
  }
  window.addEventListener("load", markRead);
  window.addEventListener("focus", markRead);
  document.addEventListener("visibilitychange", markRead);

  // ------------------------------------------------------------- what is new

  let waiting = 0;
  let lists = 0;
  function refreshList() {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const turn = ++lists;
      const query = searched();
      const answer = await ask(`${base}?${query}`);
      // A later answer, or what was looked for since, is not overwritten.
      if (answer === null || turn !== lists || query !== searched()) return;
      const place = rows.scrollTop;
      const focused = document.activeElement?.closest("#rows li")?.id;
      rows.innerHTML = answer;
      htmx.process(rows);
      rows.scrollTop = place;
      markCurrent();
      showUnread(Number(rows.querySelector("#unread-total").dataset.unread));
      if (focused) document.getElementById(focused)?.querySelector("a")?.focus();
    }, 250);
  }

  function searched() {
    return new URLSearchParams(new FormData(document.querySelector(".find"))).toString();
  }

  function markCurrent() {
    if (!conversation) return;
    document.getElementById(`c-${conversation}`)?.querySelector("a")?.setAttribute("aria-current", "page");
  }

  async function ask(url) {
    try {
      const headers = { "HX-Request": "true", "X-By-Itself": "1" };
      const answer = await fetch(url, { headers, credentials: "same-origin" });
      return answer.status === 200 ? await answer.text() : null;  // 204: the way to the sign-in
    } catch {
      return null;
    }
  }

  const turns = new Map();
  async function showMessage(id, isNew) {
    const turn = (turns.get(id) ?? 0) + 1;
    turns.set(id, turn);
    const answer = await ask(`${base}/m/${id}`);
    if (answer === null || turns.get(id) !== turn) return;  // the answer to a later question counts
    const holder = document.createElement("template");
    holder.innerHTML = answer;
    const item = holder.content.querySelector("li");
    const known = document.getElementById(`m-${id}`);
    const follow = isAtEnd();
    if (known) {
      for (const part of ["details.html", "details.quoted", "details.rest"]) {
        const open = item.querySelector(part);
        if (open) open.open = known.querySelector(part)?.open ?? false;
      }
      known.replaceWith(item);
    } else {
      place(item);
      scroll.querySelector(".empty")?.remove();
    }
    htmx.process(item);
    if (follow) toEnd();
    if (isNew && item.classList.contains("theirs")) {
      said.textContent = `New message: ${item.querySelector(".text")?.textContent.slice(0, 200) ?? ""}`;
    } else if (item.classList.contains("failed")) {
      said.textContent = "A message was not delivered.";
    }
  }

  // At its own time: news may be of a message that is further up, or not loaded yet.
  function place(item) {
    const all = [...messages.querySelectorAll("li.message")];
    const at = all.findIndex((each) => Number(each.dataset.at) > Number(item.dataset.at));
    const next = all[at];
    if (at === 0 && messages.querySelector(":scope > .more")) return;
    const before = next ? all[at - 1] : all[all.length - 1];
    const isOfNextDay = next?.dataset.day === item.dataset.day;
    const anchor = !next || isOfNextDay ? next : next.previousElementSibling;
    if (!isOfNextDay && before?.dataset.day !== item.dataset.day) {
      const day = document.createElement("li");
      day.className = "day";
      day.dataset.day = item.dataset.day;
      day.append(document.createElement("h2"));
      day.firstChild.textContent = item.dataset.day;
      messages.insertBefore(day, anchor ?? null);
    }
    messages.insertBefore(item, anchor ?? null);
  }

  // One message's news come close together: the last of them is what is shown.
  const pending = new Map();
  function later(id, isNew) {
    const before = pending.get(id);
    clearTimeout(before?.timer);
    const fresh = isNew || (before?.isNew ?? false);
    pending.set(id, {
      isNew: fresh,
      timer: setTimeout(() => { pending.delete(id); showMessage(id, fresh); }, 60),
    });
  }

  // Who is answered anything but a stream (by a proxy while the gateway begins anew) is never asked
  // again by the browser: so it is done here, from the last place, and said meanwhile.
  let events = null;
  let after = rows.dataset.after;
  let pause = 1000;
  function hear() {
    if (events || document.hidden) return;
    const stream = events = new EventSource(`${base}/live?after=${encodeURIComponent(after)}`);
    stream.onopen = () => { pause = 1000; document.getElementById("deaf")?.remove(); };
    stream.onerror = () => {
      if (stream.readyState !== EventSource.CLOSED || stream !== events) return;
      events = null;
      sayDeaf();
      setTimeout(hear, pause * (0.5 + Math.random()));  // not all pages at once
      pause = Math.min(pause * 2, 60000);
    };
    stream.onmessage = (event) => {
      after = event.lastEventId;
      const told = JSON.parse(event.data);
      if (typeof told.unread === "number") showUnread(told.unread);
      if (told.type === "unread") return;  // what happened was told before, only not yet counted
      refreshList();
      if (told.message && told.conversation === conversation) {
        const isNew = told.type === "message.received";
        later(told.message, isNew);
        if (isNew) { isMarked = false; markRead(); }
      }
    };
  }

  function hush() {
    events?.close();
    events = null;
  }

  // Over HTTP/1.1 a browser has six connections to a host: pages that nobody sees leave them to those
  // that somebody opens, and look now and then what is unread. Seen again, they hear what they missed.
  let away = 0;
  let looking = 0;
  function rest() {
    hush();
    looking = setInterval(refreshList, 30000);
  }
  document.addEventListener("visibilitychange", () => {
    clearTimeout(away);
    clearInterval(looking);
    if (document.hidden) away = setTimeout(rest, 5000); else hear();
  });
  window.addEventListener("pagehide", hush);

  function sayDeaf() {
    const notice = document.createElement("p");
    notice.id = "deaf";
    notice.className = "notice warn";
    notice.textContent = "What is new does not come in just now: trying again. If this stays, load the page again.";
    document.getElementById("problem").replaceChildren(notice);
  }
  if (document.hidden) rest(); else hear();
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  // ------------------------------------------------------------- older messages keep the place

  document.body.addEventListener("htmx:beforeSwap", (event) => {
    if (event.target.closest?.("#messages > .more")) scroll.dataset.before = scroll.scrollHeight - scroll.scrollTop;
  });
  document.body.addEventListener("htmx:afterSettle", () => {
    if (!scroll?.dataset.before) return;
    scroll.scrollTop = scroll.scrollHeight - Number(scroll.dataset.before);
    delete scroll.dataset.before;
    const seen = new Set();  // the day that was begun above goes on below
    for (const day of messages.querySelectorAll(".day")) {
      if (seen.has(day.dataset.day)) day.remove();
      seen.add(day.dataset.day);
    }
  });
  document.body.addEventListener("sent", () => { toEnd(); document.getElementById("body")?.focus(); });

  // The same form that comes back, as with an error, cannot say which files were chosen.
  let chosen = null;
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const form = event.detail.target;
    if (form?.id === "composer") chosen = { key: form.elements.key.value, files: form.elements.attachments?.files };
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    const { key, attachments } = document.getElementById("composer")?.elements ?? {};
    if (chosen?.files?.length && attachments && key.value === chosen.key) attachments.files = chosen.files;
    chosen = null;
  });

  // Pictures of an e-mail from elsewhere, in its own frame.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-remote]");
    if (!link) return;
    event.preventDefault();
    link.closest("details").querySelector("iframe").src = link.href;
  });

  // ------------------------------------------------------------- keys

  const isField = (element) => element?.matches?.("input, textarea, select, [contenteditable]");

  function step(by) {
    const links = [...rows.querySelectorAll("li > a:not(.button)")];
    if (!links.length) return;
    const now = links.indexOf(document.activeElement);
    const current = links.findIndex((link) => link.hasAttribute("aria-current"));
    const from = now >= 0 ? now : current;
    const next = Math.min(Math.max(from + by, 0), links.length - 1);
    links[next].focus();
  }

  document.addEventListener("keydown", (event) => {
    const keys = document.getElementById("keys");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.id === "body") {
      event.preventDefault();
      event.target.form.querySelector('button[value="send"]').click();
      return;
    }
    if (event.key === "Escape" && isField(event.target)) { event.target.blur(); return; }
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (isField(event.target) || keys?.open) return;
    const act = {
      j: () => step(1),
      k: () => step(-1),
      r: () => (document.getElementById("body") ?? document.querySelector("#composer select"))?.focus(),
      "/": () => document.getElementById("q")?.focus(),
      "?": () => keys?.showModal(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
})();
