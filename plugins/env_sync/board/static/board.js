"use strict";
// The board's own script: refreshes the page, asks before each action, and leads to Airflow's own pages.

const REFRESH_SECONDS = 10;
const base = document.body.dataset.base;
const framed = window.parent !== window;
const said = document.getElementById("said");
let shown = new Date();
let old = false;

// In Airflow's frame the page is as light or dark as Airflow itself.
function followTheme() {
  if (!framed) return;
  const dark = window.parent.document.documentElement.classList.contains("dark");
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

// The frame may not lead the window elsewhere; a link within the window itself may.
function openInAirflow(event) {
  const link = event.target.closest("a.airflow");
  if (!link || !framed) return;
  event.preventDefault();
  const outer = window.parent.document.createElement("a");
  outer.href = link.href;
  if (event.ctrlKey || event.metaKey) outer.target = "_blank";
  window.parent.document.body.append(outer);
  outer.click();
  outer.remove();
}

async function refresh() {
  if (document.hidden || document.querySelector("dialog[open]")) return;
  let answer, page;
  try {
    answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected) return location.reload();
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return sayOld("Airflow does not answer");
  }
  const board = document.getElementById("board");
  const fresh = page.getElementById("board");
  if (!answer.ok || !fresh) return sayOld("Airflow answered " + answer.status);
  if (old) say("");
  old = false;
  shown = new Date();
  if (fresh.innerHTML === board.innerHTML) return;
  for (const open of board.querySelectorAll("details[open]")) {
    const again = open.id && fresh.querySelector("#" + CSS.escape(open.id));
    if (again) again.open = true;
  }
  const place = board.contains(document.activeElement) ? pathTo(board, document.activeElement) : null;
  board.replaceChildren(...fresh.childNodes);
  if (place) place.reduce((node, index) => node?.children[index], board)?.focus({ preventScroll: true });
}

function pathTo(root, node) {
  const path = [];
  for (; node !== root; node = node.parentElement) path.unshift([...node.parentElement.children].indexOf(node));
  return path;
}

// Stays until a refresh succeeds.
function sayOld(why) {
  old = true;
  say(why + ". Showing data from " + shown.toLocaleTimeString() + ", which may be out of date.", true);
}

function say(text, wrong = false) {
  said.textContent = text;
  said.classList.toggle("error", wrong);
}

async function call(method, path, body) {
  const answer = await fetch(base + "/api/v1/environments/" + path, {
    method,
    headers: { "Content-Type": "application/json", "X-Env-Sync": "board" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const result = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(reason(result.detail) || "Airflow answered " + answer.status);
  return result;
}

function reason(detail) {
  if (Array.isArray(detail)) return detail.map((each) => each.loc.slice(1).join(".") + ": " + each.msg).join("; ");
  return detail;
}

const part = encodeURIComponent;
const ACTIONS = {
  run: async (of, form) => {
    const asked = { only: [of.sync] };
    if (form.timestamp.value) asked.timestamp = form.timestamp.value;
    if (form.ignore_pauses.checked) asked.ignore_pauses = true;
    if (form.confirm.value) asked.confirm = form.confirm.value;
    await call("POST", part(of.environment) + "/runs", asked);
    return of.sync + " was started.";
  },
  pause: async (of, form) => {
    const until = new Date(form.until.value).toISOString();
    await call("PUT", part(of.environment) + "/syncs/" + part(of.sync) + "/pause", { why: form.why.value, until });
    return of.sync + " is paused.";
  },
  resume: async (of) => {
    await call("DELETE", part(of.environment) + "/syncs/" + part(of.sync) + "/pause");
    return of.sync + " is resumed.";
  },
  undo: async (of, form) => {
    const asked = { restore_previous: of.database };
    const confirm = form.raw.value || form.confirm.value;
    if (confirm) asked.confirm = confirm;
    await call("POST", part(of.environment) + "/runs", asked);
    return "Undoing the last pull of " + of.database + ".";
  },
  rerun: async (of) => {
    const result = await call("POST", part(of.environment) + "/rerun", { run: of.run });
    return "Syncs restarted: " + result.groups.length + ".";
  },
};

function ask(button) {
  const of = button.dataset;
  const dialog = document.getElementById("dialog-" + of.action);
  const form = dialog.querySelector("form");
  form.reset();
  dialog.querySelector(".error").textContent = "";
  for (const node of dialog.querySelectorAll("[data-fill]")) node.textContent = of[node.dataset.fill] || "";
  for (const node of dialog.querySelectorAll("[data-for]")) node.hidden = !node.dataset.for.split(" ").includes(of.kind);
  for (const node of dialog.querySelectorAll("[data-when]")) node.hidden = !(node.dataset.when in of);
  if (of.action === "pause") setUntil(form, 24);
  if (of.action === "run") listDumps(dialog, of);
  form.onsubmit = (event) => {
    event.preventDefault();
    act(dialog, form, of);
  };
  dialog.showModal();
}

async function act(dialog, form, of) {
  const submit = form.querySelector("[type=submit]");
  submit.disabled = true;
  try {
    const message = await ACTIONS[of.action](of, form.elements);
    dialog.close();
    say(message);
    await refresh();
  } catch (problem) {
    dialog.querySelector(".error").textContent = problem.message;
  } finally {
    submit.disabled = false;
  }
}

async function listDumps(dialog, of) {
  const list = dialog.querySelector("select");
  const hint = dialog.querySelector("[data-fill=dumps]");
  list.replaceChildren(new Option("the newest", ""));
  if (of.kind !== "pull") return;
  hint.textContent = "Listing dumps …";
  try {
    const dumps = await call("GET", part(of.environment) + "/syncs/" + part(of.sync) + "/dumps");
    for (const dump of dumps) {
      list.add(new Option(dump.timestamp + ", " + (dump.size / 1e6).toFixed(1) + " MB", dump.timestamp));
    }
    hint.textContent = dumps.length ? "" : "The bucket has no complete dump.";
  } catch (problem) {
    hint.textContent = problem.message;
  }
}

function setUntil(form, hours) {
  const moment = new Date(Date.now() + hours * 3600e3);
  moment.setMinutes(moment.getMinutes() - moment.getTimezoneOffset(), 0, 0);
  form.elements.until.value = moment.toISOString().slice(0, 16);
}

document.addEventListener("click", (event) => {
  openInAirflow(event);
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.action) ask(button);
  if ("close" in button.dataset) button.closest("dialog").close();
  if (button.dataset.hours) setUntil(button.form, Number(button.dataset.hours));
});
followTheme();
if (framed) {
  new MutationObserver(followTheme).observe(window.parent.document.documentElement, { attributeFilter: ["class"] });
}
if (document.querySelector("main .heading")) setInterval(refresh, REFRESH_SECONDS * 1000);
