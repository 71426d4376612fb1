// The page of the twin. Everything said stays in this tab: nothing is stored, nothing is asked of another host.
"use strict";

const $ = (id) => document.getElementById(id);
const QUIET_MS = 900; // after a message without another one being typed, the twin answers
const LABEL = "[AI] written by a language model\n"; // opens the first reply where others than the owner may read it
const turns = []; // {role: "user" | "assistant", bubbles: [...], isCut, isNotice, isLabelled, at}
let run = "";
let context = 0; // tokens that prompt and reply have together, 0 where that is not known
let stopper = null; // of the reply that is being written
let timer = 0;
let key = "";
let candidates = null;
let contact = ""; // the model that the conversation is with
let shelf = null; // the conversation that the present one replaced: {turns, contact}
let isOutgrown = false; // whether it was said that the context is full

// -- the server -----------------------------------------------------------------------------------------------------

async function ask(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  const options = body ? { method: "POST", headers, body: JSON.stringify(body), signal } : { headers };
  const response = await fetch(path, options).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Error("The twin cannot be reached. Is clone serve still running?");
  });
  if (response.status === 401 && (await unlock())) return ask(path, body, signal);
  if (!response.ok) {
    const told = await response.json().catch(() => null);
    throw new Error(told?.error?.message ?? `The server answered ${response.status}.`);
  }
  return response;
}

function unlock() {
  // Asks for the key until one is given. Returns whether there is a new one to try.
  const door = $("door");
  $("door-told").textContent = key ? "That key was not right." : "";
  $("key").value = "";
  door.showModal();
  return new Promise((resolve) => {
    door.addEventListener("close", () => {
      key = door.returnValue === "go" ? $("key").value : "";
      resolve(key !== "");
    }, { once: true });
  });
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new Error("The twin broke off. Is clone serve still running?");
    });
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      yield event;
    }
  }
}

function wishes() {
  const out = {};
  for (const input of $("settings").elements) {
    if (input.value !== "" && input.validity.valid) out[input.name] = Number(input.value);
  }
  return out;
}

function conversation() {
  // one line a bubble; a line break inside a bubble is followed by a tab
  const write = (bubbles) => bubbles.map((b) => b.replaceAll("\n", "\n\t")).join("\n");
  return turns.filter((t) => t.bubbles.length).map((t) => ({ role: t.role, content: write(t.bubbles) }));
}

async function* replies(n, signal) {
  // Yields [candidate, bubble, text, finish] as they come.
  const body = { model: $("contact").value, messages: conversation(), stream: true, n, ...wishes() };
  body.stream_options = { include_usage: true };
  const response = await ask("v1/chat/completions", body, signal);
  const begun = performance.now();
  for await (const event of events(response)) {
    const u = event.usage;
    if (u?.completion_tokens) {
      const seconds = (performance.now() - begun) / 1000;
      const time = seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
      const tokens = u.completion_tokens === 1 ? "1 token" : `${u.completion_tokens} tokens`;
      say(`${tokens} in ${time} · context ${u.prompt_tokens}${context ? ` of ${context}` : ""}`);
    }
    if (u?.cut_tokens) say("That was longer than the context: the twin saw only the end of it.");
    else if (u?.dropped_turns && !isOutgrown) {
      isOutgrown = true;
      say("The conversation has outgrown the context: the twin no longer sees its oldest lines.");
    }
    for (const choice of event.choices) {
      const { content = "", bubble = 0 } = choice.delta;
      yield [choice.index, bubble, content, choice.finish_reason];
    }
  }
}

// -- what is seen ---------------------------------------------------------------------------------------------------

function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function say(text) { $("state").textContent = text; }

function scroll() { $("log").scrollTop = $("log").scrollHeight; }

function isAtEnd() {
  const log = $("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < 60;
}

let wasAtEnd = true;
$("log").addEventListener("scroll", () => { wasAtEnd = isAtEnd(); });
new ResizeObserver(() => { if (wasAtEnd) scroll(); }).observe($("log")); // a keyboard that opens on a phone hides no bubble

function draw() {
  const log = $("log");
  log.replaceChildren(...(turns.length ? turns.map(drawTurn) : [drawEmpty()]));
  buttons();
  scroll();
}

function drawEmpty() {
  const hint = element("p", "hint");
  const contact = $("contact");
  const who = contact.selectedIndex > 0 ? `You are ${contact.selectedOptions[0].textContent}.` : "You are somebody it does not know.";
  hint.append(element("b", "", "Say something to the twin."));
  hint.append(`${who} Lines sent in a row are answered together. An AI answers, in the manner of the person it was trained on.`);
  return hint;
}

function drawTurn(turn) {
  const side = turn.role === "user" ? "me" : "twin";
  const node = element("div", `turn ${side}${turn.isNotice ? " notice" : ""}`);
  node.append(element("span", "unseen", turn.role === "user" ? "You:" : "The twin, an AI:"));
  if (turn.isLabelled) node.append(element("span", "label", LABEL.trim()));
  turn.bubbles.forEach((bubble, i) => {
    if (!bubble) return;
    const isLast = i === turn.bubbles.length - 1;
    node.append(element("div", `bubble${turn.isCut && isLast ? " cut" : ""}`, bubble));
  });
  return node;
}

function typing() {
  const node = element("div", "turn twin");
  const dots = element("div", "bubble typing");
  dots.append(element("i"), element("i"), element("i"), element("span", "unseen", "The twin is typing"));
  node.append(dots);
  return node;
}

function announce(turn) { $("announce").textContent = `The twin, an AI: ${turn.bubbles.join(". ")}`; }

function fail(error, again) {
  const told = element("p", "error", error.message);
  told.setAttribute("role", "alert");
  if (again) {
    const button = element("button", "", "Try again");
    button.type = "button";
    button.addEventListener("click", () => { told.remove(); again(); });
    told.append(button);
  }
  document.querySelector(".hint")?.remove();
  $("log").append(told);
  scroll();
}

function buttons() {
  const last = turns.at(-1);
  const isBusy = stopper !== null || candidates !== null;
  $("retry").disabled = $("pick").disabled = isBusy || !last || Boolean(last.isNotice);
  for (const id of ["new", "save-md", "save-jsonl"]) $(id).disabled = stopper !== null || !turns.length;
  $("undo").disabled = stopper !== null || !(turns.length || shelf);
  $("stop").hidden = stopper === null;
  $("send").hidden = stopper !== null;
}

// -- what happens ---------------------------------------------------------------------------------------------------

function add(content, bubble, bubbles) {
  while (bubbles.length <= bubble) bubbles.push("");
  bubbles[bubble] += bubbles[bubble] ? content : content.replace(/^\n+/, "");
}

function unlabel(bubbles) {
  // The label is shown beside the reply; the conversation that goes back to the server is without it.
  if (!bubbles[0].startsWith(LABEL)) return false;
  bubbles[0] = bubbles[0].slice(LABEL.length);
  return true;
}

async function answer() {
  clearTimeout(timer);
  if (stopper || candidates) return;
  const turn = { role: "assistant", bubbles: [], isCut: false, isNotice: false, at: new Date() };
  const dots = typing();
  for (const old of document.querySelectorAll(".error, .hint")) old.remove();
  $("log").append(dots);
  scroll();
  say("");
  let node = null;
  let failure = null;
  try {
    stopper = new AbortController();
    buttons();
    const parts = replies(1, stopper.signal);
    for await (const [, bubble, content, finish] of parts) {
      if (content) {
        if (bubble > 0 && content === "\n") continue;
        add(bubble > turn.bubbles.length - 1 ? content.replace(/^\n/, "") : content, bubble, turn.bubbles);
        turn.isLabelled = unlabel(turn.bubbles) || turn.isLabelled;
        turn.isNotice = !turn.isLabelled && turn.bubbles[0].startsWith("[AI] ") && turn.bubbles.length === 1;
        const follows = isAtEnd(); // who reads further up is left there
        const fresh = drawTurn(turn);
        if (node) node.replaceWith(fresh); else $("log").insertBefore(fresh, dots);
        node = fresh;
        if (follows) scroll();
      }
      if (finish === "length") turn.isCut = true;
    }
  } catch (error) {
    if (error.name !== "AbortError") failure = error;
    turn.isCut = true;
  } finally {
    stopper = null;
    dots.remove();
    turn.bubbles = turn.bubbles.map((b) => b.trimEnd()).filter(Boolean);
    if (turn.bubbles.length) { turns.push(turn); announce(turn); }
    else if (!failure) say(turn.isCut ? "stopped" : "The twin says nothing to that.");
    const follows = isAtEnd();
    const top = $("log").scrollTop;
    draw();
    if (!follows) $("log").scrollTop = top;
    if (failure) fail(failure, () => { if (turns.at(-1) === turn) turns.pop(); draw(); answer(); });
    $("text").focus();
  }
}

function send() {
  const text = $("text").value.trim();
  $("text").value = "";
  fit();
  clearTimeout(timer);
  if (candidates) closeCandidates();
  if (text) {
    const bubbles = text.split(/\n+/).map((line) => line.trim()).filter(Boolean);
    const last = turns.at(-1);
    if (last?.role === "user") last.bubbles.push(...bubbles);
    else turns.push({ role: "user", bubbles, at: new Date() });
    draw();
    wait();
  } else if (!turns.length || turns.at(-1).role === "user") {
    answer(); // an empty line: answer now, or let the twin begin
  }
}

function wait() {
  timer = setTimeout(() => ($("text").value.trim() ? wait() : answer()), QUIET_MS);
}

function retry() {
  if ($("retry").disabled) return;
  if (turns.at(-1)?.role === "assistant") turns.pop();
  draw();
  answer();
}

function undo() {
  if ($("undo").disabled) return;
  if (candidates) { closeCandidates(); return; }
  if (!turns.length) { // "New" is taken back
    turns.push(...shelf.turns);
    $("contact").value = contact = shelf.contact;
    shelf = null;
    say("");
    draw();
    return;
  }
  while (turns.length && turns.at(-1).role === "assistant") turns.pop();
  const taken = turns.pop();
  draw();
  if (taken && !$("text").value) { $("text").value = taken.bubbles.join("\n"); fit(); }
  $("text").focus();
}

async function pick() {
  if ($("pick").disabled) return;
  const before = turns.at(-1)?.role === "assistant" ? turns.pop() : null;
  draw();
  const n = 3;
  candidates = { before, bubbles: Array.from({ length: n }, () => []), cut: Array(n).fill(true) };
  const panel = $("candidates");
  panel.hidden = false;
  const cards = candidates.bubbles.map((_, i) => {
    const card = element("button", "candidate");
    card.type = "button";
    card.addEventListener("click", () => choose(i));
    return card;
  });
  panel.replaceChildren(...cards);
  let isLabelled = false;
  const show = (i) => {
    const said = candidates.bubbles[i].filter(Boolean);
    const parts = said.length || stopper ? said : ["(nothing)"];
    cards[i].replaceChildren(element("b", "", `${i + 1}`), ...parts.map((text) => element("span", "", text)));
  };
  cards.forEach((_, i) => show(i));
  try {
    stopper = new AbortController();
    buttons();
    const parts = replies(n, stopper.signal);
    for await (const [i, bubble, content, finish] of parts) {
      if (content) add(content === LABEL ? "" : content.replace(/^\n/, ""), bubble, candidates.bubbles[i]);
      isLabelled ||= content === LABEL;
      if (finish) candidates.cut[i] = finish === "length";
      if (content) show(i);
    }
  } catch (error) {
    if (error.name !== "AbortError") { closeCandidates(); stopper = null; buttons(); fail(error, pick); return; }
  } finally {
    stopper = null;
    buttons();
  }
  candidates.isLabelled = isLabelled;
  cards.forEach((_, i) => show(i));
  cards[0].focus();
  say("Choose one, or press its number. Esc keeps the reply that was there.");
}

function choose(i) {
  if (!candidates || stopper) return;
  const bubbles = candidates.bubbles[i].map((b) => b.trimEnd()).filter(Boolean);
  if (bubbles.length) turns.push({ role: "assistant", bubbles, isCut: candidates.cut[i], isLabelled: candidates.isLabelled, at: new Date() });
  candidates = null;
  $("candidates").hidden = true;
  say("");
  draw();
  $("text").focus();
}

function closeCandidates() {
  if (candidates?.before) turns.push(candidates.before);
  candidates = null;
  $("candidates").hidden = true;
  say("");
  draw();
}

function stop() {
  stopper?.abort();
}

function anew() {
  if (stopper) return;
  if (candidates) closeCandidates();
  clearTimeout(timer);
  if (turns.length) shelf = { turns: turns.splice(0), contact };
  contact = $("contact").value;
  isOutgrown = false;
  say(shelf ? "A new conversation. Undo brings the last one back." : "");
  draw();
  $("text").focus();
}

function save(kind) {
  const contact = $("contact").selectedOptions[0]?.textContent ?? "you";
  let text;
  if (kind === "jsonl") {
    text = turns.map((t) => JSON.stringify({
      speaker: t.role === "user" ? contact : "twin", is_ai: t.role === "assistant",
      bubbles: t.bubbles, said_at: t.at.toISOString(), is_cut: Boolean(t.isCut), run,
    }) + "\n").join("");
  } else {
    const head = `# A conversation as ${contact}\n\n[AI] The lines of **twin** were written by a language model (${run}).\n\n`;
    text = head + turns.map((t) => {
      const who = t.role === "user" ? contact : "twin";
      return `**${who}**, ${t.at.toISOString().slice(0, 16).replace("T", " ")} UTC  \n${t.bubbles.join("  \n")}\n`;
    }).join("\n");
  }
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = `twin-${new Date().toISOString().slice(0, 10)}.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function fit() {
  const text = $("text");
  text.style.height = "auto";
  text.style.height = `${Math.min(text.scrollHeight + 2, 150)}px`;
}

function theme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
}

function settings() {
  const form = $("settings");
  form.hidden = !form.hidden;
  $("settings-button").setAttribute("aria-expanded", String(!form.hidden));
  if (!form.hidden) form.elements[0].focus();
}

// -- wiring ---------------------------------------------------------------------------------------------------------

$("say").addEventListener("submit", (event) => { event.preventDefault(); send(); });
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
});
$("text").addEventListener("input", fit);
$("stop").addEventListener("click", stop);
$("retry").addEventListener("click", retry);
$("pick").addEventListener("click", pick);
$("undo").addEventListener("click", undo);
$("new").addEventListener("click", anew);
$("save-md").addEventListener("click", () => save("md"));
$("save-jsonl").addEventListener("click", () => save("jsonl"));
$("theme").addEventListener("click", theme);
$("settings-button").addEventListener("click", settings);
$("settings").addEventListener("submit", (event) => event.preventDefault());
$("contact").addEventListener("change", anew);
$("reset").addEventListener("click", () => $("settings").elements[0].focus());
$("door-cancel").addEventListener("click", () => $("door").close());
$("door").querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); $("door").close("go"); });

// On a Mac the Option key alone writes letters.
const IS_MAC = /Mac|iPhone|iPad/.test(navigator.platform);
if (IS_MAC) {
  for (const node of document.querySelectorAll("[aria-keyshortcuts^=Alt]")) {
    node.title = node.title.replace("Alt+", "Ctrl+Option+");
    node.setAttribute("aria-keyshortcuts", node.getAttribute("aria-keyshortcuts").replace("Alt", "Control+Alt"));
  }
}

document.addEventListener("keydown", (event) => {
  if ($("door").open) return;
  if (event.key === "Escape") { if (stopper) stop(); else if (candidates) closeCandidates(); }
  if (candidates && !stopper && document.activeElement !== $("text") && /^[1-9]$/.test(event.key)) {
    if (Number(event.key) <= candidates.bubbles.length) { event.preventDefault(); choose(Number(event.key) - 1); }
  }
  if (!event.altKey || event.ctrlKey !== IS_MAC || event.metaKey) return;
  const action = { KeyR: retry, KeyP: pick, KeyU: undo, KeyN: anew, KeyS: settings, KeyD: theme }[event.code];
  if (action) { event.preventDefault(); action(); }
});

async function begin() {
  try {
    const models = (await (await ask("v1/models")).json()).data;
    run = models[0].run;
    context = models[0].context ?? 0;
    $("run").textContent = `${models[0].run} · ${models[0].base}`;
    for (const input of $("settings").elements) {
      if (input.name) input.placeholder = models[0].sampling?.[input.name] ?? (input.name === "seed" ? "none" : "off");
    }
    $("contact").replaceChildren(...models.map((model) => {
      const option = element("option", "", model.name);
      option.value = model.id;
      return option;
    }));
    contact = $("contact").value;
    draw();
    $("text").focus();
  } catch (error) {
    draw();
    fail(error, begin);
  }
}
draw();
begin();
