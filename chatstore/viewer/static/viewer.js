// What a page cannot do by itself: keys, copying code, pages that come while one scrolls, an answer that grows.
// Everything can be read without it. It makes no markup from text: pages come as documents (XMLHttpRequest), whose
// elements are moved here; the page's policy would refuse anything else.
"use strict";

const steps = () => [...document.querySelectorAll("[data-step]")];
let chosen = -1;

function load(address) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", address);
    request.responseType = "document";
    request.onload = () => (request.status === 200 && request.response ? resolve(request.response) : reject(request.status));
    request.onerror = () => reject(0);
    request.send();
  });
}

// ---- keys

function step(by) {
  const all = steps();
  if (!all.length) return;
  if (chosen < 0 || !all[chosen]) {
    const top = all.findIndex((one) => one.getBoundingClientRect().bottom > 80);
    chosen = by > 0 ? Math.max(top, 0) : Math.max(top - 1, 0);
  } else {
    chosen = Math.min(Math.max(chosen + by, 0), all.length - 1);
  }
  const target = all[chosen].querySelector("a.go") || all[chosen];
  if (!target.matches("a")) target.tabIndex = -1;
  target.focus({ preventScroll: true });
  all[chosen].scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
  const search = document.querySelector("[data-key='/']");
  const help = document.getElementById("help");
  const does = {
    j: () => step(1),
    k: () => step(-1),
    u: () => location.assign(new URL("./", location.href)),
    "/": () => search && search.focus(),
    "?": () => help.showModal(),
  }[event.key];
  if (!does) return;
  event.preventDefault();
  does();
});

document.addEventListener("focusin", (event) => {
  const inside = event.target.closest("[data-step]");
  if (inside) chosen = steps().indexOf(inside);
});

// ---- copying code

function addButtons(root) {
  for (const block of root.querySelectorAll("pre:not(.has-copy)")) {
    block.classList.add("has-copy");
    const around = document.createElement("div");
    around.className = "copied-code";
    block.replaceWith(around);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(block.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(block);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    around.append(block, button);
  }
}

// ---- pages that come while one scrolls

function watchMore() {
  const turns = document.querySelector(".turns");
  if (!turns || !("IntersectionObserver" in window)) return;
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) more(entry.target, turns, seen);
  }, { rootMargin: "600px 0px" });
  for (const link of document.querySelectorAll("[data-more]")) seen.observe(link);
}

async function more(link, turns, seen) {
  seen.unobserve(link);
  const up = link.dataset.more === "up";
  let page;
  try {
    page = await load(link.href);
  } catch {
    return; // the link is still there to be followed
  }
  const height = document.documentElement.scrollHeight;
  const y = scrollY;
  const come = [...page.querySelectorAll(".turns > .turn")].filter((one) => !document.getElementById(one.id));
  for (const one of come) addButtons(one);
  turns[up ? "prepend" : "append"](...come);
  if (up) scrollTo({ top: y + document.documentElement.scrollHeight - height, behavior: "instant" });
  const pager = link.closest("nav");
  pager.replaceChildren(...page.querySelector(up ? ".pager.up" : ".pager.down").childNodes);
  const next = pager.querySelector("[data-more]");
  if (next) seen.observe(next);
  watchGrowing();
}

// ---- an answer that grows

const growing = new Set();

function watchGrowing() {
  for (const one of document.querySelectorAll("[data-grows]")) {
    if (growing.has(one.id)) continue;
    growing.add(one.id);
    setTimeout(() => grow(one.id, one.dataset.grows), 1000);
  }
}

async function grow(id, address) {
  let fresh = null;
  try {
    fresh = (await load(address)).querySelector(".turn");
  } catch (status) {
    if (status === 404) return;
  }
  const old = document.getElementById(id);
  if (fresh && old) {
    const low = innerHeight + scrollY > document.documentElement.scrollHeight - 80;
    addButtons(fresh);
    old.replaceWith(fresh);
    if (low) scrollTo(0, document.documentElement.scrollHeight);
  }
  growing.delete(id);
  watchGrowing();
}

// ---- the beginning

addButtons(document);
watchGrowing();
const end = document.querySelector(".turns.at-end");
if (end && !location.hash && end.lastElementChild) {
  history.scrollRestoration = "manual";
  scrollTo(0, document.documentElement.scrollHeight);
}
watchMore();
