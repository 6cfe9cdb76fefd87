// What the console does beyond what it can do without a script: times in the viewer's zone, shown and typed, copying, asking before what
// cannot be undone, and live updates. Everything else is plain pages and forms.
"use strict";
(() => {
  const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });  // along the axis of a plot: <time data-clock>

  // The server writes UTC; the viewer sees their own zone, and UTC on hover (title).
  function localise(within) {
    for (const one of within.querySelectorAll("time[datetime]:not([data-ago])")) {
      one.textContent = ("clock" in one.dataset ? clock : whole).format(new Date(one.dateTime));
    }
  }

  // Times that one types are the viewer's too, by the clock of the day typed; what is sent, and stands in the address, is the instant.
  function localiseFields(within) {
    const two = (number) => String(number).padStart(2, "0");
    for (const one of within.querySelectorAll("input[data-utc]")) {
      const at = new Date(`${one.getAttribute("value")}Z`);
      if (!isNaN(at)) {
        one.dataset.at = at.toISOString();
        one.value = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
        one.dataset.shown = one.value;
      }
      for (const zone of one.labels[0].querySelectorAll("[data-zone]")) {
        zone.textContent = "(your time)";
        zone.title = whole.resolvedOptions().timeZone;
      }
    }
  }
  document.addEventListener("formdata", (event) => {
    for (const one of event.target.querySelectorAll("input[data-utc]")) {
      const at = new Date(one.value);
      // What nobody touched stays what it was: of the hour that a clock goes through twice, a field cannot say which.
      if (!isNaN(at)) event.formData.set(one.name, (one.value === one.dataset.shown ? one.dataset.at : at.toISOString()).replace(".000Z", "Z"));
    }
  });

  function copyButtons(within) {
    if (!navigator.clipboard) return;
    for (const one of within.querySelectorAll("[data-copy], [data-copy-block]")) one.hidden = false;
  }

  // What works with a script alone is shown with it alone: <p data-scripted hidden>.
  function showScripted(within) {
    for (const one of within.querySelectorAll("[data-scripted]")) one.hidden = false;
  }

  function say(words) {
    const place = document.getElementById("announce");
    if (place) place.textContent = words;
  }

  function enliven(within) {
    localise(within);
    localiseFields(within);
    copyButtons(within);
    showScripted(within);
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-block]");
    if (button) {
      const text = button.dataset.copy ?? button.parentElement.querySelector("code").textContent;
      await navigator.clipboard.writeText(text);
      const before = button.textContent;
      button.textContent = "Copied";
      say("Copied");
      setTimeout(() => { button.textContent = before; }, 1500);
    }
    // <button data-check-all="subscribed_events" data-to="1">: all boxes of that name within the nearest fieldset or form.
    const all = event.target.closest("[data-check-all]");
    if (all) {
      const within = all.closest("fieldset") ?? all.form;
      for (const box of within.querySelectorAll(`input[type=checkbox][name="${all.dataset.checkAll}"]`)) box.checked = all.dataset.to === "1";
    }
  });

  document.addEventListener("submit", (event) => {
    const words = event.target.dataset.confirm;
    if (words && !window.confirm(words)) event.preventDefault();
  });

  // What makes something is sent once, however often one clicks: <form data-once>. After "back" it may be sent again.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.dataset.once === undefined) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });

  // Filters apply as soon as they are chosen: <form data-auto>.
  document.addEventListener("change", (event) => {
    const form = event.target.form;
    if (form && form.dataset.auto !== undefined && event.target.matches("select, [type=date], [type=checkbox]")) form.requestSubmit();
  });

  // What was left empty is no filter: an address to share holds what was chosen, and nothing else.
  document.addEventListener("formdata", (event) => {
    if (event.target.method !== "get") return;
    for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
  });

  // <body data-changes="address">: a stream that says "something changed", never what. Elements with hx-trigger="changed from:body"
  // then fetch themselves anew. A hidden page lets go of its connection: a browser has only six for one host.
  let stream = null;
  let pause = 2000;  // ms until the next try of a stream that was refused; doubles up to a minute
  function listen() {
    const address = document.body.dataset.changes;
    if (!address || stream || document.hidden) return;
    stream = new EventSource(address);
    stream.addEventListener("change", () => htmx.trigger(document.body, "changed"));
    // What changed between the page and the stream, or while it was cut, it does not tell: look once.
    stream.addEventListener("open", () => { pause = 2000; htmx.trigger(document.body, "changed"); });
    // A browser takes up a stream that broke, but not one that was refused, as a proxy does while the server starts anew.
    stream.addEventListener("error", () => {
      if (stream?.readyState !== EventSource.CLOSED) return;
      stream = null;
      setTimeout(listen, pause);
      pause = Math.min(2 * pause, 60000);
    });
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stream?.close(); stream = null; return; }
    listen();
  });
  window.addEventListener("pagehide", () => { stream?.close(); stream = null; });

  // <section data-every="15" hx-trigger="again">: a piece that is dear to make fetches itself so many seconds after it came, while one
  // looks; who comes back to the page after longer gets it at once.
  const dear = () => document.querySelectorAll("[data-every]");
  function again() {
    for (const one of dear()) {
      one.cameAt ??= Date.now();
      if (document.hidden || Date.now() - one.cameAt < 1000 * one.dataset.every) continue;
      one.cameAt = Date.now();  // also when the answer does not come: it is asked again no sooner
      htmx.trigger(one, "again");
    }
  }
  setInterval(again, 1000);
  document.addEventListener("visibilitychange", again);

  // A piece that fetches itself anew comes as the server writes it. What a person opened or closed stays so: <details id>.
  const folds = new Map();  // id: is it open
  document.addEventListener("click", (event) => {
    const fold = event.target.closest("summary")?.parentElement;
    if (fold?.id) folds.set(fold.id, !fold.open);
  });

  function keepFolds(within) {
    for (const [id, open] of folds) {
      const fold = document.getElementById(id);
      if (fold && within.contains(fold)) fold.open = open;
    }
  }

  // Who walks by keyboard keeps their place: htmx finds it again by an id, here it is found by what stands there.
  const placed = (one) => [one.tagName, one.getAttribute("href"), one.closest("[id]")?.id, one.form?.action, one.textContent.trim()].join("\n");
  let left = null;
  document.addEventListener("htmx:beforeSwap", (event) => {
    const one = document.activeElement;
    if (one && !one.id && one.matches("a, button, summary") && event.detail.target.contains(one)) left = placed(one);
  });
  document.addEventListener("htmx:afterSwap", () => {
    if (left === null || document.activeElement !== document.body) return;
    [...document.querySelectorAll("a, button, summary")].find((one) => placed(one) === left)?.focus({ preventScroll: true });
    left = null;
  });

  // The person's menu closes by Escape, and by a click elsewhere.
  const menu = () => document.querySelector("details.me[open]");
  document.addEventListener("keydown", (event) => {
    const open = menu();
    if (event.key !== "Escape" || !open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
  document.addEventListener("click", (event) => {
    const open = menu();
    if (open && !open.contains(event.target)) open.open = false;
  });

  // Of each new piece: the target of a swap may be what the piece took the place of.
  document.addEventListener("htmx:load", (event) => { keepFolds(event.detail.elt); enliven(event.detail.elt); });
  // A refusal is shown in its place too: htmx would drop it.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.status >= 400 && event.detail.xhr.getResponseHeader("content-type")?.startsWith("text/html")) {
      event.detail.shouldSwap = true;
    }
  });
  document.addEventListener("DOMContentLoaded", () => {
    enliven(document);
    document.querySelector("[data-focus]")?.focus();
    listen();
  });
})();
