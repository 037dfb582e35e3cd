// Keeps the page "Now" fresh while somebody looks at it; everything works without.
"use strict";
(() => {
  const now = document.getElementById("now");
  const state = document.getElementById("refreshed");
  if (!now || !state) return;
  let running = true;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  const say = () => { button.textContent = running ? "Pause refreshing" : "Refresh every 10 s"; };
  button.addEventListener("click", () => { running = !running; say(); });
  say();
  state.after(button);
  const refresh = async () => {
    if (!running || document.hidden || now.contains(document.activeElement)) return;
    try {
      const answer = await fetch("/now", { redirect: "error" });
      if (!answer.ok) throw new Error("refused");
      now.innerHTML = await answer.text();
      state.textContent = "Refreshed every 10 s.";
    } catch {
      state.textContent = "Not refreshed any more: the relay did not answer, or the session has ended. Reload the page.";
    }
  };
  setInterval(refresh, 10000);
})();
