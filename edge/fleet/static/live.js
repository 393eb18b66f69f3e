// Every five seconds the parts marked data-live are fetched anew, while somebody looks.
"use strict";
async function refresh() {
  if (document.hidden || !document.querySelector("[data-live]")) return;
  const answer = await fetch(location.href, { headers: { "X-Live": "1" } });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.getElementById(part.id);
    // Not under somebody's fingers: a button must not move away while it is pressed.
    if (other && !part.contains(document.activeElement)) part.innerHTML = other.innerHTML;
  }
}
setInterval(() => refresh().catch(() => {}), 5000);
