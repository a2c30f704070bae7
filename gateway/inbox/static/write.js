// Writing, and keyboard shortcuts. Everything works without it.
"use strict";

(() => {
  const scroll = document.getElementById("thread");
  const rows = document.getElementById("rows");
  const said = document.getElementById("live");

  function toWriting() {
    const form = document.getElementById("composer");
    // The text is disabled while WhatsApp accepts only a template.
    const place = form?.querySelector("textarea:not([disabled])") ?? form?.querySelector('select[name="template"]');
    place?.focus();
  }

  document.body.addEventListener("sent", () => {
    if (scroll) scroll.scrollTop = scroll.scrollHeight;
    said.textContent = document.querySelector("#composer > .notice")?.textContent ?? "";
    toWriting();
  });

  // ------------------------------------------------------------- while an answer is on its way

  const TYPED = "textarea, input:not([type]), input[type=text], input[type=datetime-local]";
  const CHOSEN = "select[name=to], select[name=from]";
  const asked = (form) => form.querySelectorAll(`${TYPED}, ${CHOSEN}`);

  // Marks what is busy, for screen readers. While a message is being sent, its fields are read-only:
  // over a slow network, anything written meanwhile would be lost.
  const waiting = new Map();  // by request: after it, the elements may no longer be on the page
  document.body.addEventListener("htmx:beforeRequest", ({ detail: { xhr, elt, target, requestConfig } }) => {
    if (!target || target.id === "measure") return;
    const isSending = elt.id === "composer" && requestConfig.parameters.do === "send";
    if (isSending) document.querySelector(".middle .notice.good")?.remove();  // it is about the last message
    const fields = isSending ? [...elt.querySelectorAll(TYPED)] : [];
    for (const field of fields) field.readOnly = true;
    const place = target.closest("#messages, #rows, #composer");
    place?.setAttribute("aria-busy", "true");
    const values = place?.id === "composer" ? [...asked(place)].map((field) => [field, field.value]) : [];
    waiting.set(xhr, { place, fields, isSending, values: new Map(values) });
  });
  document.body.addEventListener("htmx:afterRequest", ({ detail: { xhr } }) => {
    const { place, fields = [] } = waiting.get(xhr) ?? {};
    waiting.delete(xhr);
    place?.removeAttribute("aria-busy");
    for (const field of fields) field.readOnly = false;
  });

  // The form has one request at a time: the latest one, which aborts an earlier one unless that sends.
  document.body.addEventListener("htmx:confirm", (event) => {
    const { target } = event.detail;
    if (target?.id !== "composer") return;
    for (const [xhr, { place, isSending }] of waiting) {
      if (isSending) event.preventDefault();
      else if (place === target) xhr.abort();
    }
  });

  // When the form comes back, with an error or for another channel, it lacks what was typed or chosen
  // since the request.
  let before = null;
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const { target: form, xhr } = event.detail;
    if (form?.id !== "composer") return;
    const values = waiting.get(xhr)?.values ?? new Map();
    before = {
      key: form.elements.key.value,
      isOpen: form.querySelector(".more-fields")?.open,
      late: [...asked(form)].filter((field) => field.value !== values.get(field)),
    };
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    const form = document.getElementById("composer");
    if (before && form?.elements.key.value === before.key) {
      const more = form.querySelector(".more-fields");
      if (before.isOpen && more) more.open = true;
      for (const { name, value } of before.late) {
        for (const field of [...form.elements].filter((each) => each.name === name)) {
          const isThere = !field.options || [...field.options].some((option) => option.value === value);
          if (isThere && field.value !== value) field.value = value;
        }
      }
    }
    before = null;
  });

  // A reply goes to the address that they wrote from last, even if it was begun before, unless its
  // writer chose another one.
  let turns = 0;
  async function follow(tries = 0) {
    const turn = ++turns;
    const select = document.getElementById("by-channel");
    if (!select) return;
    const channel = select.value;
    const answer = await ask(select.getAttribute("hx-post"), new URLSearchParams({ channel }));
    if (turn !== turns) return;  // a later request was made
    if (answer === undefined && tries < 5) {
      setTimeout(() => { if (turn === turns) follow(tries + 1); }, 2000 * (tries + 1));
    }
    if (!answer) return;
    const holder = document.createElement("template");
    holder.innerHTML = answer;
    const fresh = (name) => holder.content.querySelector(`select[name="${name}"]`);
    const { elements } = document.getElementById("composer");
    if (elements.channel?.value !== channel) return follow();  // another channel was chosen meanwhile
    if (fresh("channel")?.value !== channel) return;  // they cannot be reached on it any more
    for (const name of ["to", "from"]) {
      const field = elements[name];
      const offered = elements[`offered.${name}`];
      if (field.value === offered.value) {
        field.replaceChildren(...fresh(name).options);
        field.selectedIndex = 0;
        offered.value = field.value;
      } else if (field.value !== fresh(name).value) {
        field.closest("details").open = true;
      }
    }
  }
  document.addEventListener("heard", () => follow());

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
      r: toWriting,
      n: () => document.getElementById("begin")?.click(),
      "/": () => document.getElementById("q")?.focus(),
      "?": () => keys?.showModal(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
})();
