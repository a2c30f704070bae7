// Keeps the files that were chosen: a form from the server comes without them. Everything works without it.
"use strict";

(() => {
  let chosen = null;  // until they are sent
  const field = () => document.getElementById("composer")?.elements.attachments;
  document.addEventListener("change", ({ target }) => { if (target === field()) chosen = target.files; });
  document.body.addEventListener("sent", () => { chosen = null; });

  // The form is replaced: with an error, for another channel, or, once its message is sent, empty.
  document.body.addEventListener("htmx:afterSwap", ({ detail: { xhr } }) => {
    const isSent = xhr.getResponseHeader("HX-Trigger-After-Settle") === "sent";
    if (chosen?.length && !isSent && field()) field().files = chosen;
  });

  // Uploads may take longer than any other request.
  document.body.addEventListener("htmx:configRequest", ({ detail }) => {
    if (detail.elt.closest?.("#composer") && field()?.files.length) detail.timeout = 600000;
  });

  // The browser does not restore them either: it asks before the page is left.
  window.addEventListener("beforeunload", (event) => { if (chosen?.length) event.preventDefault(); });
})();
