// The few lines that htmx has not: how the stream is, what is said aloud, copying, times in the reader's zone.
"use strict";
(() => {
  const stream = document.getElementById("stream");
  const clock = () => new Date().toLocaleTimeString();
  let heard = clock();
  // the server says something every 15 seconds: a connection that is silent for longer is dead, though nothing broke it
  const SILENT = 45000;
  let connection = null;
  let last = Date.now();

  const say = (state, text) => {
    if (!stream || stream.textContent === text) return;
    stream.dataset.state = state;
    stream.textContent = text;
  };

  const localTimes = (root) => {
    for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
      time.title = time.textContent;
      time.textContent = new Date(time.dateTime).toLocaleString();
    }
  };

  const lost = () => say("lost", `Connection lost: what you see is of ${heard}. Trying again…`);
  const live = () => { heard = clock(); say("live", "Live: changes appear by themselves."); };

  let unavailable = false;
  document.addEventListener("htmx:after:swap", () => {
    localTimes(document);
    if (unavailable) live();
    unavailable = false;
  });
  document.addEventListener("htmx:sse:after:connection", (event) => {
    connection = event.detail.connection;
    last = Date.now();
    live();
  });
  document.addEventListener("htmx:sse:after:message", () => { heard = clock(); last = Date.now(); });
  document.addEventListener("visibilitychange", () => { last = Date.now(); });
  setInterval(() => {
    if (!connection?.reader || document.hidden || Date.now() - last < SILENT) return;
    last = Date.now();
    lost();
    connection.reader.cancel();
  }, 5000);
  document.addEventListener("htmx:sse:before:connection", (event) => { if (event.detail.connection.attempt > 0) lost(); });
  document.addEventListener("htmx:sse:error", (event) => {
    if (event.detail.status === 401) say("lost", "Your sign-in has ended: reload this page to sign in again.");
    else lost();
  });
  document.addEventListener("htmx:sse:close", (event) => {
    connection = null;
    if (event.detail.reason === "message") say("ended", "It has ended: nothing changes any more.");
  });
  document.addEventListener("news", (event) => { document.getElementById("news").textContent = event.detail.data; });
  document.addEventListener("unavailable", (event) => {
    unavailable = true;
    say("lost", event.detail.data);
  });
  document.addEventListener("htmx:error", lost);
  document.addEventListener("htmx:response:error", (event) => {
    const status = event.detail.ctx.response.status;
    if (status === 401) say("lost", "Your sign-in has ended: reload this page to sign in again.");
    else lost();
  });
  document.addEventListener("htmx:after:request", (event) => {
    if (stream && stream.dataset.poll && event.detail.ctx.response.status === 200) {
      heard = clock();
      say("live", `Looked at again every ${stream.dataset.poll} seconds.`);
    }
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-text]");
    if (!button) return;
    const { copy, copyText } = button.dataset;
    await navigator.clipboard.writeText(copy ? new URL(copy, location.href).href : document.querySelector(copyText).textContent);
    button.textContent = "Copied";
  });
  localTimes(document);
  document.querySelector("[data-focus]")?.focus();
  // what a form was answered with has an address of its own: going back to it, or loading it again, sends nothing
  const place = document.querySelector("[data-address]")?.dataset.address;
  if (place) history.replaceState(null, "", place);
  for (const form of document.querySelectorAll("form[method=post]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "yes";
    });
  }
  addEventListener("pageshow", () => { for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent; });
})();
