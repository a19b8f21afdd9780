"use strict";
// Everything that a run says goes through textContent: it is shown, never interpreted.
const run = JSON.parse(document.getElementById("run").textContent);

function make(tag, name, ...children) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  for (const child of children) {
    if (child !== null && child !== undefined && child !== "") node.append(child);
  }
  return node;
}
const money = (usd) => (usd === null || usd === undefined ? "price unknown" : `$${usd.toFixed(4)}`);
const seconds = (s) => (s < 10 ? `${s.toFixed(2)} s` : `${s.toFixed(0)} s`);
const count = (n) => Number(n || 0).toLocaleString("en");
const STATES = ["complete", "partial", "forced", "running", "failed", "stopped"];

function allCalls(node) {
  const own = [...node.calls];
  for (const turn of node.turns) own.push({ ...turn.root, t: turn.t }, ...turn.calls);
  return own.concat(...node.children.map(allCalls));
}
function state(call) {
  return call.failure ? "failed" : call.cached ? "stored" : call.purpose === "root" ? "root" : "sub";
}
function facts(node) {
  const calls = allCalls(node);
  const stored = calls.filter((call) => call.cached).length;
  const bad = calls.filter((call) => call.failure).length;
  const row = make("div", "facts");
  const status = STATES.includes(node.status) ? node.status : "failed";
  row.append(make("b", status, node.status));
  const coverage = node.end.coverage || {};
  for (const text of [
    node.start.model, node.end.mode || node.start.mode, money(node.cost_usd),
    `${count(calls.length)} calls`, stored ? `${count(stored)} from the cache` : "",
    bad ? `${count(bad)} failed` : "",
    coverage.total ? `${count(coverage.done)} of ${count(coverage.total)} parts answered` : "",
    seconds(Math.max(0, node.latest - node.began)),
  ]) if (text) row.append(make("span", "", text));
  return row;
}
function timeline(node) {
  const calls = allCalls(node).filter((call) => Number.isFinite(call.t));
  const NS = "http://www.w3.org/2000/svg";
  const from = Math.min(node.began, ...calls.map((call) => call.t - (call.seconds || 0)));
  const span = Math.max(0.001, Math.max(node.latest, ...calls.map((call) => call.t)) - from);
  const lanes = [];
  const placed = calls
    .map((call) => ({ call, start: call.t - (call.seconds || 0) - from, end: call.t - from }))
    .sort((a, b) => a.start - b.start);
  for (const item of placed) {
    let lane = lanes.findIndex((end) => end <= item.start + 1e-6);
    if (lane < 0) lane = lanes.length;
    lanes[lane] = item.end;
    item.lane = lane;
  }
  const height = Math.min(8, 320 / Math.max(1, lanes.length));
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", `0 0 1000 ${Math.ceil(lanes.length * height) + 16}`);
  for (const { call, start, end, lane } of placed) {
    const bar = document.createElementNS(NS, "rect");
    bar.setAttribute("x", String((start / span) * 1000));
    bar.setAttribute("y", String(lane * height));
    bar.setAttribute("width", String(Math.max(1, ((end - start) / span) * 1000)));
    bar.setAttribute("height", String(Math.max(0.5, height - 1)));
    bar.setAttribute("class", `bar-${state(call)}`);
    const title = document.createElementNS(NS, "title");
    title.textContent = `${call.part || call.purpose} · ${seconds(call.seconds || 0)}`;
    bar.append(title);
    svg.append(bar);
  }
  for (const [x, text, anchor] of [[0, "0 s", "start"], [1000, seconds(span), "end"]]) {
    const label = document.createElementNS(NS, "text");
    label.setAttribute("x", String(x));
    label.setAttribute("y", String(Math.ceil(lanes.length * height) + 12));
    label.setAttribute("text-anchor", anchor);
    label.textContent = text;
    svg.append(label);
  }
  const legend = make("p", "legend small");
  for (const [name, text] of [["root", "root model"], ["sub", "sub-model"], ["stored", "from the cache"], ["failed", "failed"]]) {
    legend.append(make("span", "", make("i", `swatch-${name}`), text));
  }
  return make("div", "", svg, legend);
}
function opened(title, body, open) {
  const node = make("details", "", make("summary", "", ...title), body);
  node.open = Boolean(open);
  return node;
}
function pre(text) {
  return text ? make("pre", "", String(text)) : "";
}
function callRow(call) {
  const said = call.failure ? `NO ANSWER: ${call.failure.reason}` : call.reply || "";
  const about = call.part || (call.prompt && call.prompt.preview) || "";
  const body = make("div", "", pre(call.prompt && call.prompt.preview), pre(said));
  const first = String(said).split("\n")[0].slice(0, 160);
  return make("tr", call.failure ? "failed" : "", make("td", "", about),
    make("td", "", opened([first || "(empty)"], body)),
    make("td", "number", seconds(call.seconds || 0)),
    make("td", "number", call.cached ? "cache" : money(call.cost_usd)));
}
function callTable(calls) {
  if (!calls.length) return "";
  const head = make("tr", "", make("th", "", "about"), make("th", "", "answer"),
    make("th", "number", "time"), make("th", "number", "cost"));
  return opened([`${count(calls.length)} sub-calls`], make("table", "", head, ...calls.map(callRow)),
    calls.length <= 4);
}
function turnView(turn, children) {
  const first = (turn.code || turn.reply).trim().split("\n")[0].slice(0, 120);
  const thought = turn.reply.replace(/```[\s\S]*?(```|$)/, "").trim();
  const body = make("div", "", thought ? make("p", "", thought) : "", pre(turn.code),
    callTable(turn.calls),
    ...children.filter((child) => turn.children.includes(child.id)).map(runView),
    turn.shown ? make("div", "small", "output") : "", pre(turn.shown),
    turn.left ? make("div", "small", turn.left) : "");
  const cost = turn.root.cached ? "cache" : money(turn.root.cost_usd);
  return opened([`${turn.number}. ${first} `, make("small", "", cost)], body, turn.number === 1);
}
function runView(node) {
  const shown = new Set(node.turns.flatMap((turn) => turn.children));
  return make("div", "child", make("div", "", make("b", "", `${node.id} `), node.start.question || ""),
    facts(node), ...node.turns.map((turn) => turnView(turn, node.children)), callTable(node.calls),
    ...node.children.filter((child) => !shown.has(child.id)).map(runView),
    node.end.answer ? opened(["answer"], pre(node.end.answer)) : "");
}
function evidence(node) {
  const rows = (node.end.evidence || []).map((item) => make("tr", item.verified === false ? "failed" : "",
    make("td", "", { true: "verified", false: "NOT VERIFIED", null: "opens" }[item.verified]), make("td", "", item.ref),
    make("td", "", item.quote)));
  return rows.length ? make("table", "", ...rows) : "";
}
document.body.append(
  make("h1", "", run.start.question || `run ${run.id}`), facts(run),
  make("div", "small", [run.id, run.end.reason || run.start.reason].filter(Boolean).join(" · ")),
  run.end.answer ? make("h2", "", "Answer") : "", pre(run.end.answer), evidence(run),
  make("h2", "", "Timeline"), timeline(run),
  make("h2", "", "Turns"), runView(run),
);
