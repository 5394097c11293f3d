// Keeps the element marked data-live fresh, and times counting. With data-events the server sends its content as it
// changes; else the page is fetched again every two seconds while it is looked at. Without this script the pages work all
// the same.
"use strict";

const live = document.querySelector("[data-live]");
let pressed = false;
let shown = live?.innerHTML;

// Replacing a button between press and release would lose the click.
addEventListener("pointerdown", () => { pressed = true; });
addEventListener("pointerup", () => { pressed = false; });
addEventListener("pointercancel", () => { pressed = false; });

// A span of time in at most two units, as the server writes it.
function span(ms) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let left = Math.max(0, Math.floor(ms / 1000));
  const parts = [];
  for (const [unit, seconds] of units) {
    const count = Math.floor(left / seconds);
    left -= count * seconds;
    if (count > 0) parts.push(`${count}\u00a0${unit}`);
  }
  return parts.slice(0, 2).join(" ") || "0\u00a0s";
}

function tick() {
  const now = Date.now();
  for (const it of document.querySelectorAll("[data-lasting]")) it.textContent = span(now - it.dataset.lasting);
  for (const it of document.querySelectorAll("[data-ago]")) {
    const ms = now - it.dataset.ago;
    it.textContent = ms < 0 ? `in ${span(-ms)}` : `${span(ms)} ago`;
  }
}

function show(content) {
  if (content === shown || pressed) return;
  const focused = document.activeElement;
  const key = focused?.id ? `#${CSS.escape(focused.id)}`
    : focused?.getAttribute?.("href") ? `[href="${CSS.escape(focused.getAttribute("href"))}"]`
    : focused?.name && focused?.value ? `[name="${CSS.escape(focused.name)}"][value="${CSS.escape(focused.value)}"]` : null;
  const ticked = [...live.querySelectorAll("input:checked")].map((it) => it.value);
  const open = [...live.querySelectorAll("details[open]")].map((it) => it.id);
  live.innerHTML = content;
  shown = content;
  for (const it of live.querySelectorAll("input[type=checkbox]")) it.checked = ticked.includes(it.value);
  for (const it of live.querySelectorAll("details")) if (open.includes(it.id)) it.open = true;
  tick();
  if (key) live.querySelector(key)?.focus({ preventScroll: true });
}

// To the login page, which leads back here. Whoever got this far was logged in, so that has ended.
function logInAgain(address) {
  const login = new URL(address);
  login.searchParams.set("reason", "ended");
  location.assign(login);
}

async function refetch() {
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.redirected) return logInAgain(answer.url);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-live]");
      live.classList.toggle("stale", !fresh);
      if (fresh) show(fresh.innerHTML);
    } catch {
      live.classList.add("stale");
    }
  }
  setTimeout(refetch, 2000);
}

function listen(address) {
  const events = new EventSource(address);
  let last = null;
  events.onmessage = (message) => { last = JSON.parse(message.data); show(last); };
  events.onopen = () => live.classList.remove("stale");
  events.onerror = () => {
    live.classList.add("stale");
    // The browser does not come again after an answer that is no stream, such as the login page.
    if (events.readyState === EventSource.CLOSED) refetch();
  };
  events.addEventListener("end", () => events.close());
  addEventListener("pointerup", () => { if (last) setTimeout(show, 50, last); });
}

if (live?.dataset.events) listen(live.dataset.events);
else if (live) setTimeout(refetch, 2000);
tick();
setInterval(tick, 1000);
