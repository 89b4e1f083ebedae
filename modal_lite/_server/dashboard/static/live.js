// What is live on a page is fetched with the page again and put in its place. Without this, pages are as they were.
"use strict";
const EVERY = 2000, MOST_LINES = 2000;
const trouble = document.getElementById("trouble"), pause = document.getElementById("pause");
const shown = new Map();
let paused = false, source = null;

const focusable = (root) => [...root.querySelectorAll("a[href], button, summary, [tabindex]")];
const running = () => !paused && !document.hidden;

function inLocalTime(root) {
  for (const time of root.querySelectorAll("time")) {
    time.textContent = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  }
}

function replace(old, fresh) {
  const html = fresh.innerHTML;
  if (shown.get(old.id) === html || (old.contains(getSelection().anchorNode) && !getSelection().isCollapsed)) return;
  shown.set(old.id, html);
  const active = document.activeElement, at = focusable(old).indexOf(active);
  const href = at < 0 ? null : active.getAttribute("href");
  old.innerHTML = html;
  inLocalTime(old);
  if (at < 0) return;
  const now = focusable(old);
  (now.find((each) => href !== null && each.getAttribute("href") === href) || now[at])?.focus({ preventScroll: true });
}

async function update() {
  if (running()) {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected) return location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.ok && running()) {
        for (const old of document.querySelectorAll("[data-live]")) {
          const fresh = page.getElementById(old.id);
          if (fresh) replace(old, fresh);
        }
      }
      trouble.textContent = answer.ok ? "" : "The server answers with an error.";
    } catch {
      trouble.textContent = "The server does not answer.";
    }
  }
  setTimeout(update, EVERY);
}

function follow(log) {
  let url = log.dataset.stream;
  const connect = () => {
    source?.close();
    source = null;
    // A connection that nobody looks at would be missed elsewhere: browsers have few.
    if (!running()) return;
    source = new EventSource(url);
    source.onmessage = (event) => {
      const below = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      log.insertAdjacentHTML("beforeend", event.data);
      while (log.children.length > MOST_LINES) log.firstElementChild.remove();
      if (below) log.scrollTop = log.scrollHeight;
      url = url.replace(/after=.*/, "after=" + event.lastEventId);
    };
    source.onopen = () => { trouble.textContent = ""; };
    source.onerror = () => { trouble.textContent = "The server does not answer."; };
  };
  log.scrollTop = log.scrollHeight;
  document.addEventListener("visibilitychange", connect);
  pause.addEventListener("click", connect);
  addEventListener("pagehide", () => source?.close());
  connect();
}

const log = document.getElementById("log"), live = document.querySelectorAll("[data-live]");
inLocalTime(document);
if (log || live.length) {
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
  });
}
if (live.length) {
  for (const each of live) shown.set(each.id, "");
  setTimeout(update, EVERY);
}
if (log) follow(log);
