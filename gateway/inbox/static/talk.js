// The list and the open conversation: what is new appears by itself. Everything works without it.
"use strict";

(() => {
  const base = document.body.dataset.inbox;
  const middle = document.querySelector("[data-conversation]");
  let conversation = middle?.dataset.conversation;
  const scroll = document.getElementById("thread");
  const messages = document.getElementById("messages");
  const rows = document.getElementById("rows");
  const said = document.getElementById("live");
  const title = document.title.replace(/^\(\d+\+?\) /, "");
  document.documentElement.classList.add("has-js");

  // ------------------------------------------------------------- what is unread, and scrolling

  function showUnread(count) {
    document.title = (count ? `(${count >= 100 ? "99+" : count}) ` : "") + title;
  }

  const isAtEnd = () => scroll && scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 120;
  const toEnd = () => { if (scroll) scroll.scrollTop = scroll.scrollHeight; };

  // The newest message on the page: later ones are not marked as read, and keep a conversation open.
  const seen = () => [...messages.querySelectorAll("li.message")].pop()?.id.slice(2) ?? "";

  function noteSeen() {
    for (const each of middle.querySelectorAll("input[name=seen]")) each.value = seen();
    markRead();
  }

  let isMarked = !middle || middle.dataset.unreadHere === "0";
  async function markRead() {
    if (!middle || isMarked || !below.hidden || document.hidden || !document.hasFocus()) return;
    isMarked = true;
    const answer = await ask(middle.dataset.read, new URLSearchParams({ do: "read", seen: seen() }));
    if (typeof answer !== "string") {  // tried again when somebody looks at the page again
      isMarked = false;
      return;
    }
    middle.querySelector("[data-unread-badge]")?.remove();
    const button = middle.querySelector(".mark button");
    button.value = "unread";
    button.textContent = "Mark as unread";
  }

  // The end stays in view while pictures load, until somebody scrolls up.
  if (scroll && !location.hash) {
    let follows = true;
    let isTouched = false;
    for (const kind of ["wheel", "touchmove", "keydown", "pointerdown"]) {
      scroll.addEventListener(kind, () => { isTouched = true; }, { passive: true });
    }
    scroll.addEventListener("scroll", () => { if (isTouched) follows = isAtEnd(); }, { passive: true });
    scroll.addEventListener("click", ({ target }) => { if (target.closest("summary")) follows = false; });
    new ResizeObserver(() => { if (follows) toEnd(); }).observe(messages);
    new ResizeObserver(() => { if (follows) toEnd(); }).observe(scroll);
    toEnd();
  }
  // If somebody has scrolled up, a button tells of new messages below, which stay unread until they are
  // reached. If later messages are not on the page (`isPast`), it is a link to them.
  const below = document.getElementById("below");
  const isPast = () => middle?.dataset.past !== undefined;
  below?.addEventListener("click", () => { if (!isPast()) { toEnd(); scroll.focus({ preventScroll: true }); } });
  scroll?.addEventListener("scroll", () => {
    if (below.hidden || isPast() || !isAtEnd()) return;
    below.hidden = true;
    markRead();
  }, { passive: true });
  // The same if the page was opened at a message further up.
  window.addEventListener("load", () => { if (location.hash && !isMarked && !isAtEnd()) below.hidden = false; markRead(); });
  window.addEventListener("focus", markRead);
  document.addEventListener("visibilitychange", markRead);

  // ------------------------------------------------------------- what is new

  const wrote = new Set();  // other conversations with new messages, until they are announced
  let isAsked = false;
  let isAsking = false;
  let listed = searched();  // the search that the list on the page was made for

  // One request at a time, and at most one a second; more events do not postpone it.
  async function refreshList() {
    isAsked = true;
    if (isAsking) return;
    isAsking = true;
    try {
      for (let pause = 250; isAsked; pause = 1000) {
        await new Promise((done) => setTimeout(done, pause));
        isAsked = false;
        const query = searched();
        const answer = await ask(`${base}?${query}`);
        if (answer === undefined) setTimeout(refreshList, 5000);
        else if (answer && query === searched() && isOurs(answer)) showList(answer, query);  // not for old filters
      }
    } finally {
      isAsking = false;
    }
  }

  // Somebody else may have signed in in another tab: their list is not shown here.
  function isOurs(answer) {
    if (answer.includes(`data-who="${document.body.dataset.who}"`)) return true;
    const problem = document.getElementById("problem");
    if (problem.querySelector("[data-signed-out]")) return false;  // that notice is still true
    problem.innerHTML = '<div class="notice bad" data-signed-out>'
      + "<strong>Somebody else has signed in</strong><p>That was in another tab. What you have written"
      + " stays here: sign in again beside this page, and come back to it. Or reload it, and go on as"
      + " the other person.</p></div>";
    return false;
  }
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target === rows && !isOurs(event.detail.serverResponse)) event.preventDefault();
  });

  function showList(answer, query) {
    const place = rows.scrollTop;
    const focused = document.activeElement?.closest("#rows a")?.id;
    const before = query === listed ? [...rows.querySelectorAll("ul > li")] : [];
    rows.innerHTML = answer;
    keepFurther(before);
    listed = query;
    htmx.process(rows);
    rows.scrollTop = place;
    markCurrent();
    showUnread(Number(rows.querySelector("#unread-total").dataset.unread));
    if (focused) document.getElementById(focused)?.focus();
    sayWhoWrote();
  }

  // The answer is the first page of the list: rows loaded after it stay, with the link to the next page.
  function keepFurther(before) {
    const more = rows.querySelector("ul > .more");
    if (!more || before.length < rows.querySelectorAll("ul > li").length) return;
    const end = Number(more.previousElementSibling.dataset.at);
    const further = before.filter((each) => each.matches(".more")
      || (Number(each.dataset.at) <= end && !document.getElementById(each.id)));
    more.replaceWith(...further);
  }
  // The page's address gets the filters, too: forms lead back to it, and so does the browser. If the
  // page does not have the latest messages, `at` or `cursor` stays in it.
  document.body.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target !== rows) return;
    listed = searched();
    const place = isPast() ? location.search.match(/(?<=[?&])(at|cursor)=[^&]*/)?.[0] : "";
    history.replaceState(history.state, "", place ? `?${listed}&${place}${location.hash}` : `?${listed}`);
  });

  function sayWhoWrote() {
    const names = [...wrote].map((id) => document.querySelector(`#c-${id} .name`)?.textContent);
    const known = names.filter(Boolean);
    wrote.clear();
    if (known.length) said.textContent = `New: ${known.slice(0, 3).join(", ")}${known.length > 3 ? " and others" : ""}`;
  }

  function searched() {
    const chosen = [...new FormData(document.querySelector(".find"))].filter(([, value]) => value);
    return new URLSearchParams(chosen).toString();
  }

  function markCurrent() {
    if (!conversation) return;
    document.getElementById(`c-${conversation}`)?.querySelector("a")?.setAttribute("aria-current", "page");
  }

  const turns = new Map();
  async function showMessage(id, isNew, tries) {
    if (isPast() && !document.getElementById(`m-${id}`)) return;
    const turn = (turns.get(id) ?? 0) + 1;
    turns.set(id, turn);
    const answer = await ask(`${base}/m/${id}`);
    if (turns.get(id) !== turn) return;  // a later request for it was made
    if (answer === undefined && tries < 5) setTimeout(() => later(id, isNew, tries + 1), 2000 * (tries + 1));
    if (!answer) return;
    const holder = document.createElement("template");
    holder.innerHTML = answer;
    const item = holder.content.querySelector("li");
    const known = document.getElementById(`m-${id}`);
    const follow = isAtEnd();
    const playing = [...(known?.querySelectorAll("audio, video") ?? [])].find((each) => !each.paused);
    if (playing) {  // replacing the message would stop it
      playing.addEventListener("pause", () => later(id, false), { once: true });
      return;
    }
    if (known) {
      const reached = (place) => [...place.querySelectorAll("a, button, summary")];
      const focused = reached(known).indexOf(document.activeElement);
      for (const part of ["details.html", "details.quoted", "details.rest"]) {
        const open = item.querySelector(part);
        if (open) open.open = known.querySelector(part)?.open ?? false;
      }
      known.replaceWith(item);
      if (focused >= 0) (reached(item)[focused] ?? reached(item).pop())?.focus({ preventScroll: true });
    } else {
      place(item);
      scroll.querySelector(".empty")?.remove();
    }
    htmx.process(item);
    if (follow) toEnd();
    else if (isNew && !known && item.isConnected) below.hidden = false;
    if (!isPast()) noteSeen();
    if (isNew && item.classList.contains("theirs")) {
      const parts = [".text", ".subject", ".detail", ".files"].map((each) => item.querySelector(each));
      const text = parts.find(Boolean)?.textContent.trim();
      said.textContent = `New message: ${text ? text.slice(0, 200) : "no text"}`;
    } else if (item.classList.contains("failed") && !known?.classList.contains("failed")) {
      said.textContent = "A message was not delivered.";
      document.querySelector(".middle .notice.good")?.remove();  // it may be about this message
    }
  }

  // In order of time: the message may belong further up. If it is older than the loaded ones, it is left out.
  function place(item) {
    const all = [...messages.querySelectorAll("li.message")];
    const at = all.findIndex((each) => Number(each.dataset.at) > Number(item.dataset.at));
    const next = all[at];
    if (at === 0 && messages.querySelector(":scope > .more")) return;
    const before = next ? all[at - 1] : all.at(-1);
    const isOfNextDay = next?.dataset.day === item.dataset.day;
    const anchor = !next || isOfNextDay ? next : next.previousElementSibling;
    if (!isOfNextDay && before?.dataset.day !== item.dataset.day) {
      const day = document.createElement("li");
      day.className = "day";
      day.dataset.day = item.dataset.day;
      day.append(document.createElement("h2"));
      day.firstChild.textContent = nameOf(item.dataset.day);
      messages.insertBefore(day, anchor ?? null);
    }
    messages.insertBefore(item, anchor ?? null);
  }

  // A page may stay open for days: then "Today" becomes "Yesterday".
  const today = () => new Date().toLocaleDateString("sv", { timeZone: document.body.dataset.zone || undefined });
  let named = today();
  function nameOf(day) {
    const ago = Math.round((Date.parse(today()) - Date.parse(day)) / 86400000);
    if (ago === 0 || ago === 1) return ago ? "Yesterday" : "Today";
    const year = day.slice(0, 4) === today().slice(0, 4) ? undefined : "numeric";
    const format = { weekday: "long", day: "numeric", month: "long", year, timeZone: "UTC" };
    return new Date(day).toLocaleDateString("en-GB", format).replace(",", "");
  }
  setInterval(() => {
    if (named === today()) return;
    named = today();
    for (const day of messages?.querySelectorAll(".day") ?? []) day.firstChild.textContent = nameOf(day.dataset.day);
    refreshList();
  }, 30000);

  // Events about one message come close together: it is fetched once for them. Two messages are fetched
  // at a time: a browser with thousands of open requests would not react to its user.
  const pending = new Map();
  let lanes = 0;
  function later(id, isNew, tries = 0) {
    pending.set(id, { isNew: isNew || Boolean(pending.get(id)?.isNew), tries });
    if (lanes >= 2) return;
    lanes++;
    setTimeout(showPending, 60);
  }

  async function showPending() {
    try {
      while (pending.size) {
        const [[id, { isNew, tries }]] = pending;
        pending.delete(id);
        await showMessage(id, isNew, tries);
      }
    } finally {
      lanes--;
    }
  }

  // The open conversation was merged into another one, or another one into it: show both together.
  async function merge(one) {
    conversation = one;
    messages.innerHTML = await ask(`${base}/c/${one}`) || messages.innerHTML;
    htmx.process(messages);
    delete middle.dataset.past;
    below.hidden = true;
    noteSeen();
    toEnd();
    said.textContent = "This conversation was merged with another one.";
  }

  document.addEventListener("told", ({ detail: told }) => {
    if (typeof told.unread === "number") showUnread(told.unread);
    if (told.type === "unread") return;  // only the count: the events themselves came before
    refreshList();
    if (told.was && conversation && [told.was, told.conversation].includes(conversation)) merge(told.conversation);
    const isNew = told.type === "message.received";
    if (isNew && told.conversation !== conversation) wrote.add(told.conversation);
    if (told.message && told.conversation === conversation) {
      later(told.message, isNew);
      if (!isNew) return;
      isMarked = false;  // marked as read once the message is shown
      // A message from them opens WhatsApp's window: free text is accepted again.
      if (document.querySelector("#body[disabled]")) htmx.trigger("#by-channel", "change");
      document.dispatchEvent(new Event("heard"));
    }
  });
})();
