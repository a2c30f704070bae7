// What is loaded on request: earlier messages (the text being read does not move), further rows of the
// list, and an e-mail's pictures. Everything works without it.
"use strict";

(() => {
  const scroll = document.getElementById("thread");
  const messages = document.getElementById("messages");

  document.addEventListener("click", (event) => {
    if (event.target.closest(".more[hx-get] a")) event.preventDefault();  // htmx loads them
  });
  let isEarlierAsked = false;  // the focus was on the link, which the answer replaces
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    if (!event.target.closest?.("#messages > .more")) return;
    scroll.dataset.before = scroll.scrollHeight - scroll.scrollTop;
    isEarlierAsked = document.activeElement?.id === "earlier";
  });
  document.body.addEventListener("htmx:afterSettle", () => {
    if (!scroll?.dataset.before) return;
    scroll.scrollTop = scroll.scrollHeight - Number(scroll.dataset.before);
    delete scroll.dataset.before;
    if (isEarlierAsked && !document.getElementById("earlier")) scroll.focus({ preventScroll: true });
    const seen = new Set();  // a day that now begins further up has a second heading below
    for (const day of messages.querySelectorAll(".day")) {
      if (seen.has(day.dataset.day)) day.remove();
      seen.add(day.dataset.day);
    }
  });

  // Loads an e-mail's remote pictures, in its own frame.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-remote]");
    if (!link) return;
    event.preventDefault();
    link.closest("details").querySelector("iframe").src = link.href;
  });
})();
