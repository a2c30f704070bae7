// Drafts: what is written in a tab is kept there, by conversation, until it is sent, its writer signs
// out, or somebody else signs in.
"use strict";

(() => {
  const { inbox: base, who } = document.body.dataset;
  const DRAFTS = "gateway draft ";
  const LEAVING = "gateway signing out";
  const LEFT = "gateway signed out";
  function forget(others) {
    for (const name of Object.keys(sessionStorage)) {
      if (name.startsWith(DRAFTS) && !(others && name.startsWith(others))) sessionStorage.removeItem(name);
    }
  }

  if (who) forget(`${DRAFTS}${who} `);
  // Forgotten only when the sign-in page has come: the server may be down, or refuse to sign out.
  document.addEventListener("submit", ({ target }) => {
    if (target.matches('[action*="/sign-out"]')) sessionStorage.setItem(LEAVING, "1");
  });
  if (sessionStorage.getItem(LEAVING)) {
    sessionStorage.removeItem(LEAVING);
    if (document.querySelector("[data-sign-in]")) {
      forget();
      localStorage.setItem(LEFT, Date.now());  // tells the other tabs
    }
  }
  window.addEventListener("storage", ({ key }) => { if (key === LEFT) forget(); });

  const isText = (name) => /^(body$|variables\.)/.test(name);
  const texts = (draft) =>
    Object.entries(draft).filter(([name, value]) => isText(name) && value.trim()).map(([, value]) => value);

  const ownSubject = (draft) =>
    draft.subject?.trim() && draft.subject !== draft["offered.subject"] ? draft.subject : "";

  // Two drafts as one visible text, without a template (it can be chosen again). If either was to be
  // sent later, both are.
  function joined(ours, theirs) {
    const both = { ...ours, template: "", begun: "" };
    if (!ours.send_at) Object.assign(both, { send_at: theirs.send_at, zone: theirs.zone });
    const subject = ownSubject(theirs);
    const isTaken = ours.channel !== "email" || ownSubject(ours);
    if (subject && !isTaken) both.subject = subject;
    const more = subject && isTaken ? [subject] : [];
    return { ...both, body: [...texts(ours), ...more, ...texts(theirs)].join("\n\n") };
  }

  // If a conversation is merged into another one, its draft moves there.
  const draftOf = (conversation) => `${DRAFTS}${who} ${conversation}`;
  const waiting = (conversation) => JSON.parse(sessionStorage.getItem(draftOf(conversation)));
  function moved(was, now) {
    const [theirs, ours] = [was, now].map(waiting);
    if (!theirs) return;
    theirs.begun = /^(lead|client) /.test(was) ? was : "";  // until something else is written
    try {
      sessionStorage.setItem(draftOf(now), JSON.stringify(ours ? joined(ours, theirs) : theirs));
      sessionStorage.removeItem(draftOf(was));
    } catch { /* the storage is full: both drafts stay where they are */ }
  }
  const middle = document.querySelector("[data-conversation]");
  const composer = () => document.getElementById("composer");
  let here = middle?.dataset.conversation;
  const merges = [];  // they wait while the form is busy: a draft put into it would be lost, or sent
  function join() {
    if (composer()?.hasAttribute("aria-busy")) return;
    for (const { was, conversation } of merges.splice(0)) {
      moved(was, conversation);
      if (![was, conversation].includes(here)) continue;
      here = conversation;
      showKept(here);
    }
  }
  document.addEventListener("told", ({ detail }) => {
    if (!detail.was) return;
    merges.push(detail);
    join();
  });

  if (!middle) return;
  const draft = () => draftOf(here);
  const fields = () => [...composer().elements].filter(({ name }) => name && !/^(csrf|do|attachments)$/.test(name));
  const offered = (name) => composer().elements[`offered.${name}`]?.value;
  const isWritten = () => fields().some(({ name, value }) => (
    (isText(name) || name === "subject") && value.trim() && value !== offered(name)
  ));

  function keep() {
    const now = Object.fromEntries(fields().map(({ name, value }) => [name, value]));
    const before = waiting(here);  // the form may have been replaced, with the same text
    if (before?.begun && `${texts(before)}` === `${texts(now)}`) now.begun = before.begun;
    try {
      if (isWritten()) return sessionStorage.setItem(draft(), JSON.stringify(now));
    } catch { /* the storage is full: no draft is better than an old one */ }
    sessionStorage.removeItem(draft());
  }

  // Fields that were left as offered are not restored: something else may be offered by now. The zone is
  // restored only with a time.
  function chosen(kept) {
    for (const name of ["to", "from", "subject"]) {
      if (kept[name] === kept[`offered.${name}`]) delete kept[name];
      delete kept[`offered.${name}`];
    }
    if (!kept.send_at) ["send_at", "zone"].forEach((name) => delete kept[name]);
    delete kept.begun;
    return kept;
  }

  // Requests wait for this, so that the page's later scripts hear of them, too.
  const ready = new Promise((done) => document.addEventListener("DOMContentLoaded", done));

  // The key is restored, too: a message whose answer was lost is not sent twice.
  function giveBack(kept) {
    const form = composer();
    const { channel, template } = form.elements;
    if (!channel) return;
    const isOther = channel.value !== kept.channel || template.value !== kept.template;
    for (const field of fields()) {
      const value = kept[field.name];
      if (value === undefined) continue;
      const isThere = !field.options || [...field.options].some((option) => option.value === value);
      // The form that has this template is requested; in case it does not come, this form keeps the choice.
      const isToCome = field.name === "template" && channel.value === kept.channel;
      if (!isThere && isToCome) field.add(new Option("The chosen template", value));
      if (isThere || isToCome) field.value = value;
    }
    form.querySelector(".its-zone").textContent = form.elements.zone.value;
    form.querySelector(".more-fields").open ||= Boolean(kept.send_at || kept.to || kept.from);
    if (!isOther) return;
    // The draft's own form is requested. Meanwhile hidden fields keep what this form has no field for.
    for (const [name, value] of Object.entries(kept)) {
      const field = Object.assign(document.createElement("input"), { type: "hidden", name, value });
      if (!form.elements[name]) form.append(field);
    }
    const where = channel.getAttribute("hx-post");
    ready.then(() => htmx.ajax("POST", where, { source: "#by-channel", values: kept }));
  }

  function showKept(conversation) {
    const kept = sessionStorage.getItem(draftOf(conversation));
    if (kept) giveBack(chosen(JSON.parse(kept)));
  }

  // A draft may have been begun on the page of the lead or client, before there was a conversation. If
  // they were linked to this conversation by mistake, and are not any more, the draft moves back.
  const { was, lead, client } = middle.dataset;
  const begun = waiting(here)?.begun;
  if (begun && ![lead, client].includes(begun)) moved(here, begun);
  for (const one of [was, lead, client]) if (one) moved(one, here);
  if (!isWritten()) showKept(here);
  for (const kind of ["input", "change"]) {
    document.addEventListener(kind, ({ target }) => { if (target.form === composer()) keep(); });
  }
  document.addEventListener("renewed", keep);
  document.body.addEventListener("htmx:afterSettle", ({ detail }) => {
    if (detail.target.id === "composer") keep();
  });
  document.body.addEventListener("htmx:afterRequest", ({ detail }) => {
    // The first message to somebody redirects to the conversation that it has begun.
    const next = detail.target?.id === "composer" && detail.xhr.getResponseHeader("HX-Redirect");
    if (/[?&]done=(sent|later)/.test(next)) sessionStorage.removeItem(draft());
    setTimeout(join);
  });
})();
