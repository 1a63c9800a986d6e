/* What the pages of VoiceInfra do in the browser, beside htmx: Airflow's colours and time zone, links out of the
   frame, copying, and charts. Loaded in the head, so that a page never shows in the wrong colours first. */
"use strict";

(() => {
  const root = document.documentElement;
  const outer = frameOwner();

  /** Return Airflow's own document if this page is framed by it. */
  function frameOwner() {
    try {
      return window.parent !== window ? window.parent.document : null;
    } catch {
      return null; // framed by somebody else, whom the browser keeps out
    }
  }

  // --- Colours -----------------------------------------------------------------------------------------------

  // What an administrator may have changed; the rest is in pages.css.
  const TOKENS = {
    "--bg": "bg", "--fg": "fg", "--fg-muted": "fg-muted", "--link": "fg-info",
    "--brand-button": "brand-solid", "--brand-muted": "brand-muted",
  };

  function isDark() {
    if (outer) return outer.documentElement.classList.contains("dark");
    const stored = localStorage.getItem("theme");
    return stored === "dark" || (stored !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  }

  function follow() {
    root.classList.toggle("dark", isDark());
    if (outer) takeColours();
    document.dispatchEvent(new CustomEvent("voiceinfra:colours"));
  }

  /** Take over the colours of the Airflow around this page, which its administrator may have changed. */
  function takeColours() {
    const theirs = getComputedStyle(outer.documentElement);
    for (const [ours, token] of Object.entries(TOKENS)) {
      const value = theirs.getPropertyValue(`--chakra-colors-${token}`).trim();
      if (value) root.style.setProperty(ours, value);
    }
  }

  follow();
  if (outer) {
    new MutationObserver(follow).observe(outer.documentElement, { attributeFilter: ["class", "style"] });
  } else {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", follow);
  }
  window.addEventListener("storage", (event) => { if (["theme", "timezone"].includes(event.key)) { follow(); tell(document); } });

  // --- Times, in the zone that Airflow's own pages use ---------------------------------------------------------

  function zone() {
    const stored = (localStorage.getItem("timezone") || "").replaceAll('"', "");
    try {
      return new Intl.DateTimeFormat("en", { timeZone: stored || "UTC" }) && (stored || "UTC");
    } catch {
      return "UTC";
    }
  }

  function tell(part) {
    const timeZone = zone();
    const written = new Intl.DateTimeFormat("sv-SE", {
      timeZone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
    });
    for (const time of part.querySelectorAll("time[datetime]")) {
      const moment = new Date(time.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      time.textContent = written.format(moment);
      time.title = `${time.dateTime} (shown in ${timeZone})`;
    }
    askIn(part, timeZone);
  }

  /** Let the fields in which a time is entered be of that zone too, and say so. */
  function askIn(part, timeZone) {
    for (const named of part.querySelectorAll("[data-zone]")) {
      if (named instanceof HTMLInputElement) named.value = timeZone; else named.textContent = timeZone;
    }
    for (const input of part.querySelectorAll("input[data-moment]")) {
      const parts = new Intl.DateTimeFormat("sv-SE", {
        timeZone, dateStyle: "short", timeStyle: input.step ? "medium" : "short",
      });
      input.value = parts.format(new Date(input.dataset.moment)).replace(" ", "T");
    }
  }

  // --- Links that the frame itself may not follow: out of it, and to a file, which Airflow allows from 3.3 on ---

  function leave(link, event) {
    if (!outer || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const twin = outer.createElement("a");
    twin.href = link.href;
    if (link.hasAttribute("download")) twin.download = link.download;
    if (link.dataset.out === "new") {
      twin.target = "_blank";
      twin.rel = "noopener noreferrer";
    }
    outer.body.append(twin);
    twin.click();
    twin.remove();
  }

  // --- The address ---------------------------------------------------------------------------------------------

  const whenIdle = window.requestIdleCallback ?? ((then) => setTimeout(then, 200));
  let isTelling = false; // until Airflow has had time to show what it was told

  /**
   * Let Airflow take this page's address over into its own, which it does only when a frame has been loaded.
   *
   * One at a time: where the next one comes before Airflow has shown the first, it leads the frame back to that.
   */
  function tellAddress() {
    if (!outer || isTelling) return;
    const told = location.href;
    isTelling = true;
    window.frameElement.dispatchEvent(new outer.defaultView.Event("load"));
    whenIdle(() => {
      isTelling = false;
      if (location.href !== told) tellAddress();
    });
  }

  document.addEventListener("htmx:pushedIntoHistory", tellAddress);
  document.addEventListener("htmx:replacedInHistory", tellAddress);

  // --- Notices -------------------------------------------------------------------------------------------------
  // One at a time, which goes away by itself, or as soon as what it tells of is over.

  const TOLD = 8000; // milliseconds
  const AGAIN = 5000; // milliseconds between two looks whether the server is back
  let noticed = null; // what the notice is about; null if it is about what has happened, or if there is none
  let timer = null;

  /** Show a notice: of what has happened, or of what lasts until it is over(). */
  function say(text, about = null) {
    const notice = document.getElementById("notice");
    clearTimeout(timer);
    noticed = about;
    notice.textContent = text;
    if (about === null) timer = setTimeout(() => { notice.textContent = ""; }, TOLD);
  }

  function over(...about) {
    if (noticed !== null && about.includes(noticed)) say("");
  }

  function sayLogIn() {
    if (noticed === "login") return;
    say("You are not logged in to Airflow any more. ", "login");
    const link = document.createElement("a");
    const { pathname, search } = (outer ? outer.defaultView : window).location;
    link.href = `../../api/v2/auth/login?${new URLSearchParams({ next: pathname + search })}`;
    link.dataset.out = "";
    link.textContent = "Log in";
    document.getElementById("notice").append(link);
  }

  function sayUnreachable() {
    if (noticed === "unreachable") return;
    say("Airflow's API server cannot be reached.", "unreachable");
    lookAgain();
  }

  /** Look now and then whether the server is back; not every page asks it for something by itself. */
  function lookAgain() {
    timer = setTimeout(async () => {
      try {
        await fetch("static/icon.svg", { cache: "no-store" });
        over("unreachable");
      } catch {
        if (noticed === "unreachable") lookAgain();
      }
    }, AGAIN);
  }

  // --- Copying -------------------------------------------------------------------------------------------------

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    const text = source.value ?? source.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // no permission, or neither https nor loopback
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      if (source.select) source.select();
      document.execCommand("copy");
    }
    say(button.dataset.copied || "Copied.");
  }

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    const button = target?.closest("[data-copy]");
    if (button) copy(button);
    const link = target?.closest("a[data-out]");
    if (link) leave(link, event);
  });

  // --- What htmx brings ------------------------------------------------------------------------------------------

  document.addEventListener("DOMContentLoaded", () => { tell(document); });
  document.addEventListener("htmx:load", (event) => { tell(event.detail.elt); });
  /** Tell whether nobody asked for an answer but the page itself, which keeps itself up to date. */
  function isPoll(detail) {
    return !detail.requestConfig.triggeringEvent && Boolean(detail.requestConfig.elt?.matches('[hx-trigger^="every"]'));
  }

  // An answer that refuses is shown in place of what was asked for, not swallowed.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const status = event.detail.xhr.status;
    over("unreachable");
    if (status !== 401) over("login");
    if (status < 400 && isPoll(event.detail)) over("stale");
    if (status === 401) {
      event.detail.shouldSwap = false;
      sayLogIn();
    } else if (status >= 400 && isPoll(event.detail)) {
      event.detail.shouldSwap = false;
      if (noticed !== "stale") say("This page could not be brought up to date; it tries again.", "stale");
    } else if (status >= 400) {
      event.detail.shouldSwap = true;
    }
  });
  // What was taken is not to be sent again by mistake.
  document.addEventListener("htmx:afterRequest", ({ detail: { elt, successful } }) => {
    if (!successful || !elt.matches("form[data-reset]")) return;
    elt.reset();
    tell(elt);
  });
  // A request that has given way to a newer one is no error, though htmx writes it to the console as two.
  document.addEventListener("htmx:beforeSend", ({ detail: { xhr } }) => {
    const aborted = xhr.onabort;
    xhr.onabort = () => {
      const { error } = console;
      console.error = () => {};
      try { aborted(); } finally { console.error = error; }
    };
  });
  document.addEventListener("htmx:sendError", sayUnreachable);

  // --- Parts that keep themselves up to date -------------------------------------------------------------------
  // Idiomorph changes in such a part only what is new, so that focus and scrolling stay as they are.

  document.addEventListener("DOMContentLoaded", () => {
    if (!window.Idiomorph) return; // only pages with such parts load it
    // Whoever looks has opened or closed a disclosure; the server says nothing of that.
    window.Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, element) => {
      return !(name === "open" && element instanceof HTMLDetailsElement);
    };
  });

  function isSelectingIn(part) {
    const selection = getSelection();
    return !selection.isCollapsed && selection.rangeCount > 0 && selection.getRangeAt(0).intersectsNode(part);
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (isPoll(event.detail) && document.hidden) event.preventDefault();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!isPoll(event.detail)) return;
    if (isSelectingIn(event.detail.target)) event.detail.shouldSwap = false;
  });

  // --- Questions that a page asks back, in a disclosure ----------------------------------------------------------

  function close(details) {
    details.open = false;
    details.querySelector("summary").focus();
  }

  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-close]") : null;
    if (button) close(button.closest("details"));
  });
  document.addEventListener("keydown", (event) => {
    const asked = event.key === "Escape" && event.target instanceof Element && event.target.closest("details.ask[open]");
    if (asked) close(asked);
  });

  window.voiceinfra = { isDark: () => root.classList.contains("dark"), say, zone };
})();
