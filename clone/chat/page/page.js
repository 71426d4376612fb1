// The page of the twin. Everything said stays in this tab: nothing is stored, nothing is asked of another host.
"use strict";

const $ = (id) => document.getElementById(id);
const QUIET_MS = 900; // after a message without another one being typed, the twin answers
const turns = []; // {role: "user" | "assistant", bubbles: [...], isCut, isNotice, at}
let run = "";
let stopper = null; // of the reply that is being written
let timer = 0;
let key = "";
let candidates = null;

// -- the server -----------------------------------------------------------------------------------------------------

async function ask(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  const options = body ? { method: "POST", headers, body: JSON.stringify(body), signal } : { headers };
  const response = await fetch(path, options);
  if (response.status === 401) {
    const given = window.prompt("This twin asks for its API key:");
    if (given) { key = given; return ask(path, body, signal); }
  }
  if (!response.ok) {
    const told = await response.json().catch(() => null);
    throw new Error(told?.error?.message ?? `The server answered ${response.status}.`);
  }
  return response;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
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
    if (event.usage?.completion_tokens) {
      const u = event.usage;
      const s = (performance.now() - begun) / 1000;
      say(`${u.completion_tokens} tokens in ${s.toFixed(1)} s · ${u.prompt_tokens} of context`);
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
new ResizeObserver(scroll).observe($("log")); // a keyboard that opens on a phone hides no bubble

function draw() {
  const log = $("log");
  log.replaceChildren();
  if (!turns.length) {
    log.append(element("p", "hint", "Say something. Lines sent in a row are answered together."));
  }
  for (const turn of turns) log.append(drawTurn(turn));
  buttons();
  scroll();
}

function drawTurn(turn) {
  const side = turn.role === "user" ? "me" : "twin";
  const node = element("div", `turn ${side}${turn.isNotice ? " notice" : ""}`);
  const author = turn.role === "user" ? "You" : "The twin, an AI";
  node.setAttribute("aria-label", author);
  turn.bubbles.forEach((bubble, i) => {
    const isLast = i === turn.bubbles.length - 1;
    node.append(element("div", `bubble${turn.isCut && isLast ? " cut" : ""}`, bubble));
  });
  return node;
}

function typing() {
  const node = element("div", "turn twin");
  const dots = element("div", "bubble typing");
  dots.setAttribute("aria-label", "The twin is typing");
  dots.append(element("i"), element("i"), element("i"));
  node.append(dots);
  return node;
}

function fail(error) {
  $("log").append(element("p", "error", error.message));
  scroll();
}

function buttons() {
  const last = turns.at(-1);
  const isBusy = stopper !== null || candidates !== null;
  $("retry").disabled = $("pick").disabled = isBusy || !last || Boolean(last.isNotice);
  for (const id of ["undo", "new", "save-md", "save-jsonl"]) $(id).disabled = stopper !== null || !turns.length;
  $("stop").hidden = stopper === null;
  $("send").hidden = stopper !== null;
}

// -- what happens ---------------------------------------------------------------------------------------------------

function add(content, bubble, bubbles) {
  while (bubbles.length <= bubble) bubbles.push("");
  bubbles[bubble] += bubbles[bubble] ? content : content.replace(/^\n+/, "");
}

async function answer() {
  clearTimeout(timer);
  if (stopper || candidates) return;
  const turn = { role: "assistant", bubbles: [], isCut: false, isNotice: false, at: new Date() };
  const dots = typing();
  $("log").append(dots);
  scroll();
  let node = null;
  try {
    stopper = new AbortController();
    buttons();
    const parts = replies(1, stopper.signal);
    for await (const [, bubble, content, finish] of parts) {
      if (content) {
        if (bubble > 0 && content === "\n") continue;
        add(bubble > turn.bubbles.length - 1 ? content.replace(/^\n/, "") : content, bubble, turn.bubbles);
        turn.isNotice = turn.bubbles[0].startsWith("[AI] ") && turn.bubbles.length === 1;
        const fresh = drawTurn(turn);
        if (node) node.replaceWith(fresh); else $("log").insertBefore(fresh, dots);
        node = fresh;
        scroll();
      }
      if (finish === "length") turn.isCut = true;
    }
  } catch (error) {
    if (error.name === "AbortError") turn.isCut = true;
    else fail(error);
  } finally {
    stopper = null;
    dots.remove();
    turn.bubbles = turn.bubbles.map((b) => b.trimEnd()).filter(Boolean);
    if (turn.bubbles.length) turns.push(turn);
    else if (!document.querySelector(".error")) say(turn.isCut ? "stopped" : "the twin says nothing to that");
    if (!document.querySelector(".error")) draw(); else buttons();
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
  candidates = { before, bubbles: Array.from({ length: n }, () => []), cut: Array(n).fill(false) };
  const panel = $("candidates");
  panel.hidden = false;
  const cards = candidates.bubbles.map((_, i) => {
    const card = element("button", "candidate");
    card.type = "button";
    card.addEventListener("click", () => choose(i));
    return card;
  });
  panel.replaceChildren(...cards);
  const show = (i) => {
    const parts = candidates.bubbles[i].filter(Boolean);
    cards[i].replaceChildren(element("b", "", `${i + 1}`), ...parts.map((text) => element("span", "", text)));
  };
  cards.forEach((_, i) => show(i));
  try {
    stopper = new AbortController();
    buttons();
    const parts = replies(n, stopper.signal);
    for await (const [i, bubble, content, finish] of parts) {
      if (content) add(content.replace(/^\n/, ""), bubble, candidates.bubbles[i]);
      if (finish === "length") candidates.cut[i] = true;
      if (content) show(i);
    }
  } catch (error) {
    if (error.name !== "AbortError") { closeCandidates(); fail(error); }
  } finally {
    stopper = null;
    buttons();
    cards[0].focus();
    say("choose one: click it, or press its number");
  }
}

function choose(i) {
  if (!candidates || stopper) return;
  const bubbles = candidates.bubbles[i].map((b) => b.trimEnd()).filter(Boolean);
  if (bubbles.length) turns.push({ role: "assistant", bubbles, isCut: candidates.cut[i], at: new Date() });
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
  turns.length = 0;
  if (candidates) { candidates.before = null; closeCandidates(); }
  say("");
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
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") { if (stopper) stop(); else if (candidates) closeCandidates(); }
  if (candidates && !stopper && document.activeElement !== $("text") && /^[1-9]$/.test(event.key)) {
    if (Number(event.key) <= candidates.bubbles.length) { event.preventDefault(); choose(Number(event.key) - 1); }
  }
  if (!event.altKey || event.ctrlKey || event.metaKey) return;
  const action = { KeyR: retry, KeyP: pick, KeyU: undo, KeyN: anew, KeyS: settings, KeyD: theme }[event.code];
  if (action) { event.preventDefault(); action(); }
});

(async () => {
  try {
    const models = (await (await ask("v1/models")).json()).data;
    run = models[0].run;
    $("run").textContent = `${models[0].run} on ${models[0].base}`;
    for (const model of models) {
      const option = element("option", "", model.name);
      option.value = model.id;
      $("contact").append(option);
    }
  } catch (error) {
    fail(error);
  }
  buttons();
})();
