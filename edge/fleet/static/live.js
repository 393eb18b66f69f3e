// Every five seconds the parts marked data-live are fetched anew, while somebody looks.
"use strict";
let fresh_at = new Date();
async function refresh() {
  if (document.hidden || !document.querySelector("[data-live]")) return;
  const answer = await fetch(location.href, { headers: { "X-Live": "1" } });
  if (answer.redirected) return location.reload(); // logged out: to the login
  if (!answer.ok) throw new Error(answer.status);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.getElementById(part.id);
    // Not under somebody's fingers: a button must not move away while it is pressed.
    if (other && !part.contains(document.activeElement)) part.innerHTML = other.innerHTML;
  }
  fresh_at = new Date();
  document.getElementById("stale").hidden = true;
}
// Old figures that look like new ones are worse than none.
function tell_stale() {
  const stale = document.getElementById("stale");
  const at = fresh_at.toLocaleTimeString();
  stale.textContent = `The monitor does not answer. What is shown is of ${at}; trying again.`;
  stale.hidden = false;
}
setInterval(() => refresh().catch(tell_stale), 5000);
