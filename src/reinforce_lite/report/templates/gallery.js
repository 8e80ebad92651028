"use strict";
(() => {
  // The hint stands only where there is something to scroll to.
  const boxes = new ResizeObserver((entries) => {
    for (const { target } of entries) target.previousElementSibling.hidden = target.scrollWidth <= target.clientWidth;
  });
  for (const box of document.querySelectorAll(".scroll")) boxes.observe(box);

  const form = document.getElementById("gallery-filter");
  if (!form) return;
  const cards = [...document.querySelectorAll("#gallery > article")];
  const more = document.getElementById("gallery-more");
  const count = document.getElementById("gallery-count");
  const size = cards.filter((card) => !card.hidden).length;
  let limit = size;

  const names = (list) => (list ? list.split(" ") : []);
  const shows = (card, name, side) => {
    const before = names(card.dataset.before).includes(name);
    const after = names(card.dataset.after).includes(name);
    return { either: before || after, before, after, gained: after && !before, lost: before && !after }[side];
  };

  function filter() {
    form.elements.side.disabled = !form.elements.behaviour.value;
    const { model, kind, behaviour, side, words } = Object.fromEntries(new FormData(form));
    const sought = words.toLowerCase().split(/\s+/).filter(Boolean);
    const fit = cards.filter((card) =>
      (!model || card.dataset.model === model) &&
      (!kind || card.dataset.kind === kind) &&
      (!behaviour || shows(card, behaviour, side)) &&
      sought.every((word) => card.textContent.toLowerCase().includes(word)));
    const shown = new Set(fit.slice(0, limit));
    for (const card of cards) card.hidden = !shown.has(card);
    count.textContent = `${shown.size} of ${fit.length} shown`;
    more.hidden = shown.size === fit.length;
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { limit = size; filter(); });
  more.addEventListener("click", () => {
    const next = limit;
    limit += size;
    filter();
    const visible = cards.filter((card) => !card.hidden);
    visible[next]?.querySelector("pre").focus();
  });
  form.hidden = false;
  filter();
})();
