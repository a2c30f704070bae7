// Chosen files: the server cannot give them back to a form. Everything works without it.
"use strict";

(() => {
  let chosen = null;  // until they are sent
  const field = () => document.getElementById("composer")?.elements.attachments;
  document.addEventListener("change", ({ target }) => { if (target === field()) chosen = target.files; });
  document.body.addEventListener("sent", () => { chosen = null; });

  // The form comes anew: with an error, for another channel, or, once its message is sent, empty.
  document.body.addEventListener("htmx:afterSwap", ({ detail: { xhr } }) => {
    const isSent = xhr.getResponseHeader("HX-Trigger-After-Settle") === "sent";
    if (chosen?.length && !isSent && field()) field().files = chosen;
  });

  // They may take longer than any other request.
  document.body.addEventListener("htmx:configRequest", ({ detail }) => {
    if (detail.elt.closest?.("#composer") && field()?.files.length) detail.timeout = 600000;
  });

  // Nor does a browser give them back to a page.
  window.addEventListener("beforeunload", (event) => { if (chosen?.length) event.preventDefault(); });
})();
