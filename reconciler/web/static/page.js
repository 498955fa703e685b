// Fetches the same page again when the daemon says that something changed, and puts its content in
// place. Everything works without this file.
"use strict";
(() => {
  const main = () => document.querySelector("main");
  const lost = document.getElementById("lost");
  const PAUSE = 2000;  // between two fetches, however much happens
  const PATIENCE = 10000;  // with one that accepts a connection and is silent, such as a stopped process
  let source, due, fetched = 0, pressed = false, last = new Date();

  function answered(yes) {
    if (yes) last = new Date();
    lost.querySelector("time").textContent = last.toLocaleTimeString();
    lost.hidden = yes;
  }

  // What a person is doing stays: a form that is being filled in, selected text, open parts, focus.
  // A click needs the same element at its two ends.
  const busy = () => pressed || main().querySelector("form[method=post]") || !getSelection().isCollapsed
    || main().contains(document.activeElement?.closest("form"));

  // New content loses the mark of the part that the address names.
  function aim() {
    main().querySelector(".aimed")?.classList.remove("aimed");
    document.getElementById(decodeURIComponent(location.hash.slice(1)))?.classList.add("aimed");
  }

  async function refresh() {
    if (busy()) return void (due = setTimeout(refresh, 2000));
    let text;
    fetched = Date.now();
    try {
      const answer = await fetch(location.pathname + location.search, {signal: AbortSignal.timeout(PATIENCE)});
      if (!answer.ok && answer.status !== 404) return answered(false);
      text = await answer.text();
    } catch { return answered(false); }
    answered(true);
    if (busy()) return;
    const page = new DOMParser().parseFromString(text, "text/html");
    const held = place();
    const open = new Map([...main().querySelectorAll("details[id]")].map(e => [e.id, e.open]));
    const at = document.activeElement?.id;
    const href = document.activeElement?.getAttribute("href");
    main().replaceChildren(...page.querySelector("main").childNodes);
    main().dataset.version = page.querySelector("main").dataset.version;
    for (const [id, shown] of open) { const e = document.getElementById(id); if (e) e.open = shown; }
    if (at) document.getElementById(at)?.focus({preventScroll: true});
    else if (href) [...main().querySelectorAll("a")].find(e => e.getAttribute("href") === href)?.focus({preventScroll: true});
    // Only what it says: a link in the header may have the focus.
    document.querySelector(".target").replaceChildren(...page.querySelector(".target").childNodes);
    document.title = page.title;
    aim();
    copies();
    if (held) scrollBy(0, document.getElementById(held.id)?.getBoundingClientRect().top - held.top || 0);
  }

  // The part that a person reads stays where it is, whatever grows above it.
  function place() {
    if (scrollY === 0) return null;
    const at = [...main().querySelectorAll("[id]")].map(e => ({id: e.id, top: e.getBoundingClientRect().top}));
    return at.filter(e => e.top >= 0 && e.top < innerHeight).reduce((a, b) => !a || b.top < a.top ? b : a, null);
  }

  // A hidden page asks nothing: a browser opens only a few connections to one server.
  function follow() {
    source?.close();
    if (document.hidden) return;
    source = new EventSource("/updates");
    source.onopen = () => answered(true);
    source.onmessage = event => {
      answered(true);
      if (event.data !== main().dataset.version) { clearTimeout(due); due = setTimeout(refresh, Math.max(0, PAUSE - (Date.now() - fetched))); }
    };
    source.onerror = () => {
      answered(false);
      // After an answer that is no stream, such as 503, a browser does not try again by itself.
      if (source.readyState === EventSource.CLOSED) setTimeout(follow, 5000);
    };
  }

  function copies() {
    if (!navigator.clipboard) return;
    for (const text of main().querySelectorAll("pre.copy")) {
      const around = document.createElement("div"), button = document.createElement("button");
      around.className = "copies";
      button.type = "button";
      button.textContent = "Copy";
      button.onclick = async () => { await navigator.clipboard.writeText(text.textContent); button.textContent = "Copied"; };
      text.replaceWith(around);
      around.append(text, button);
    }
  }

  for (const [name, is] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]]) addEventListener(name, () => { pressed = is; }, true);
  document.addEventListener("visibilitychange", follow);
  addEventListener("online", follow);
  addEventListener("hashchange", aim);
  // Ages grow; and after a sleep of the machine a stream may be dead without an error.
  setInterval(() => document.hidden || refresh(), 30000);
  copies();
  follow();
})();
