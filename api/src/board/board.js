// Keeps the element marked data-live fresh. With data-events the server sends its content as it changes; else the page
// is fetched again every two seconds while it is looked at. Without this script the pages work all the same.
"use strict";

const live = document.querySelector("[data-live]");
let pressed = false;
let shown = live.innerHTML;

// Replacing a button between press and release would lose the click.
addEventListener("pointerdown", () => { pressed = true; });
addEventListener("pointerup", () => { pressed = false; });
addEventListener("pointercancel", () => { pressed = false; });

function show(content) {
  if (content === shown || pressed) return;
  const focused = document.activeElement;
  const key = focused?.id ? `#${CSS.escape(focused.id)}`
    : focused?.getAttribute?.("href") ? `[href="${CSS.escape(focused.getAttribute("href"))}"]` : null;
  live.innerHTML = content;
  shown = content;
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

if (live.dataset.events) listen(live.dataset.events);
else setTimeout(refetch, 2000);
