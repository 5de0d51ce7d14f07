// Only for comfort: every page works without it. Words stand in the pages, in their reader's language.
"use strict";

document.documentElement.classList.add("js");

const WAIT = 120; // milliseconds after a key before the search is sent
const search = document.querySelector("#q");
const list = document.querySelector("#list");
let asking = null;
let timer = 0;

// Search as one types: the list is asked for as a fragment of the page; an older request is given up.
async function find() {
  asking?.abort();
  asking = new AbortController();
  const address = new URL("/", location.href);
  if (search.value.trim()) address.searchParams.set("q", search.value);
  const fragment = new URL(address);
  fragment.searchParams.set("part", "list");
  try {
    const answer = await fetch(fragment, { signal: asking.signal });
    if (!answer.ok) return;
    list.innerHTML = await answer.text();
  } catch (error) {
    return; // Given up, or no connection: Enter asks for the whole page.
  }
  history.replaceState(null, "", address);
  document.querySelector("#said").textContent = list.querySelector("h2").textContent;
  prepare(list);
}

function rows() {
  return [...list.querySelectorAll("tbody tr")];
}

function step(by) {
  const all = rows();
  const now = all.findIndex((row) => row.classList.contains("at"));
  const next = Math.max(-1, Math.min(all.length - 1, now + by));
  all[now]?.classList.remove("at");
  all[next]?.classList.add("at");
  all[next]?.scrollIntoView({ block: "nearest" });
  const said = all[next]?.querySelector(".short").textContent;
  if (said) document.querySelector("#said").textContent = said;
}

function typing(element) {
  return element.closest("input:not([type=checkbox]), textarea, select, [contenteditable]") !== null;
}

if (search) {
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, WAIT);
  });
  search.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      step(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter") {
      event.preventDefault();
      const chosen = list.querySelector("tr.at .short");
      if (chosen) chosen.click();
      else location.href = `/.search?${new URLSearchParams({ go: "1", q: search.value })}`;
    } else if (event.key === "Escape" && search.value) {
      event.preventDefault();
      search.value = "";
      clearTimeout(timer);
      find();
    }
  });
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  event.preventDefault();
  if (search) {
    search.focus();
    search.select();
  } else {
    location.href = "/";
  }
});

// The clipboard's interface is there on https alone; a field that is copied from works on a team's plain http, too.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch (error) {
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "unseen";
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    if (!copied) throw error;
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button || button.dataset.before) return;
  await copy(button.dataset.copy);
  button.focus();
  button.dataset.before = button.textContent;
  button.textContent = button.dataset.done;
  const said = document.querySelector("#said");
  if (said) said.textContent = button.dataset.done;
  setTimeout(() => {
    button.textContent = button.dataset.before;
    delete button.dataset.before;
  }, 1500);
});

// Choosing several links.
function boxes() {
  return [...document.querySelectorAll("input[name=names]")];
}

function count() {
  const form = document.querySelector("#bulk");
  if (!form) return;
  const chosen = boxes().filter((box) => box.checked).length;
  const all = document.querySelector("#pick-all");
  form.classList.toggle("some", chosen > 0);
  const told = form.querySelector("#howmany");
  told.textContent = `${told.dataset.word} ${chosen}`;
  all.checked = chosen > 0 && chosen === boxes().length;
  all.indeterminate = chosen > 0 && !all.checked;
}

function fit() {
  const what = document.querySelector("#do");
  const value = document.querySelector("#value");
  if (!what) return;
  value.hidden = what.value === "delete";
  const type = what.value === "expires" ? "date" : "text";
  if (value.type !== type) value.type = type;
}

document.addEventListener("change", (event) => {
  if (event.target.id === "pick-all") boxes().forEach((box) => (box.checked = event.target.checked));
  if (event.target.id === "pick-all" || event.target.name === "names") count();
  if (event.target.id === "do") fit();
});

// Buttons that do nothing without this file are hidden until it is here.
function prepare(part) {
  part.querySelectorAll("[data-copy], #pick-all").forEach((element) => (element.hidden = false));
  count();
  fit();
}

prepare(document);
