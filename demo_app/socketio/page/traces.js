// The last traces and log lines: asks every node what it has seen, and puts the spans together.

import { time } from "./numbers.js";
import { nodeClass, urls } from "./people.js";
import { $, make } from "./view.js";

const EVERY = 700;
const KEPT = 80;
const SHOWN = 8;
const ROWS = 12;
const LINES = 4;
const traces = new Map();
const mine = new Map();
const asked = new Map();
let lines = [];
let pinned = "";
let whose = "all";
let drawn = "";

// What the page itself has sent, as the library's helper tells.
export function sent({ event, namespace, traceId }) {
  mine.set(traceId, `${event}${namespace === "/" ? "" : ` ${namespace}`}`);
  if (mine.size > 500) mine.delete(mine.keys().next().value);
}

// Keep one trace on top.
export function pin(trace) {
  pinned = pinned === trace ? "" : trace;
  draw();
}

function keep(span) {
  const trace = traces.get(span.trace) ?? { id: span.trace, spans: new Map(), at: 0 };
  trace.spans.set(span.span, span);
  trace.at = Math.max(trace.at, span.start + span.ms);
  // The youngest is the last.
  traces.delete(span.trace);
  traces.set(span.trace, trace);
  if (traces.size > KEPT) forget();
}

// Under load the page's own are few, and what somebody looks for.
function forget() {
  const all = [...traces.keys()];
  traces.delete(all.find((id) => id !== pinned && !mine.has(id)) ?? all[0]);
}

async function ask(url) {
  const { after = 0 } = asked.get(url) ?? {};
  const answer = await fetch(`${url}/seen?after=${after}`);
  const seen = await answer.json();
  // One that was started again counts from the beginning.
  asked.set(url, { after: seen.last < after ? 0 : seen.last });
  for (const span of seen.spans) keep(span);
  for (const { text, node } of seen.lines) lines.push({ ...JSON.parse(text), node });
  lines = lines.sort((a, b) => (a.time < b.time ? -1 : 1)).slice(-40);
}

// The spans in the order of a tree, each with its depth.
function* ordered(spans) {
  const children = new Map();
  for (const span of [...spans.values()].sort((a, b) => a.start - b.start)) {
    const parent = spans.has(span.parent) ? span.parent : "";
    children.set(parent, [...(children.get(parent) ?? []), span]);
  }
  const walk = function* (parent, depth) {
    for (const span of children.get(parent) ?? []) {
      yield [span, depth];
      yield* walk(span.span, depth + 1);
    }
  };
  yield* walk("", 0);
}

function detail({ failed, facts }) {
  const of = (name) => facts[`socketio.${name}`];
  if (failed) return of("connect.outcome") ?? facts["error.type"] ?? "failed";
  if (of("event.outcome") === "unhandled") return "unhandled";
  if (of("recipients") !== undefined) return `to ${of("recipients")}`;
  return facts["db.system.name"] ?? "";
}

function row([span, depth], start, total, single) {
  const bar = make("i");
  bar.style.setProperty("--from", (span.start - start) / total);
  bar.style.setProperty("--share", Math.max(span.ms / total, 0.012));
  const name = make("span", "name", span.name);
  name.style.setProperty("--depth", depth);
  const said = detail(span);
  const quiet = span.facts["socketio.event.outcome"] === "unhandled";
  const item = make("li", span.failed ? "failed" : quiet ? "unhandled" : "", name, make("em", "", said), bar, make("output", "", time(span.ms / 1000)));
  if (!single) item.classList.add(nodeClass(span.node));
  item.title = `${span.name} (${span.kind}) on ${span.node}${said ? `: ${said}` : ""}`;
  return item;
}

function card(trace) {
  const spans = [...trace.spans.values()];
  const start = Math.min(...spans.map((each) => each.start));
  const total = Math.max(...spans.map((each) => each.start + each.ms)) - start || 1;
  const nodes = [...new Set(spans.map((each) => each.node))].sort();
  const head = make("header", "", make("code", "", trace.id.slice(0, 8)));
  if (mine.has(trace.id)) head.append(make("span", "you", `you: ${mine.get(trace.id)}`));
  head.append(make("span", "where", ...nodes.map((node) => make("span", `tag ${nodeClass(node)}`, node))));
  head.append(make("b", "", time(total / 1000)));
  const rows = [...ordered(trace.spans)];
  const list = make("ol", "", ...rows.slice(0, ROWS).map((each) => row(each, start, total, nodes.length < 2)));
  if (rows.length > ROWS) list.append(make("li", "none", `and ${rows.length - ROWS} more`));
  const item = make("li", trace.id === pinned ? "pinned" : "", head, list);
  item.dataset.trace = trace.id;
  return item;
}

function draw() {
  const wanted = [...traces.values()]
    .filter(({ id }) => whose === "all" || mine.has(id) || id === pinned)
    .sort((a, b) => (b.id === pinned) - (a.id === pinned) || b.at - a.at)
    .slice(0, SHOWN);
  const now = JSON.stringify(wanted.map(({ id, spans }) => [id, spans.size, mine.has(id), id === pinned]));
  if (now !== drawn) {
    drawn = now;
    $("traces").replaceChildren(...wanted.map(card));
    if (!wanted.length) $("traces").append(make("li", "none", "None yet: say something"));
  }
  drawLines();
}

// What says most comes first.
const FIELDS = [
  "error_type", "event_name", "outcome", "reason", "namespace", "duration", "connect_duration",
  "events_in", "transport", "sid",
];

function drawLines() {
  const shown = lines.slice(-LINES).reverse();
  if (!shown.length) return;
  $("lines").replaceChildren(
    ...shown.map((line) => {
      const fields = FIELDS.filter((name) => name in line).map((name) => `${name}=${line[name]}`);
      const [at, event] = [make("time", "", line.time.slice(11, 19)), make("b", "", line.event)];
      const item = make("li", line.level.toLowerCase(), at, event, make("span", "", fields.join(" ")));
      item.title = JSON.stringify(line, null, 1);
      return item;
    }),
  );
}

export function follow() {
  $("whose").addEventListener("click", ({ target }) => {
    if (!target.dataset.whose) return;
    whose = target.dataset.whose;
    for (const each of $("whose").children) each.setAttribute("aria-pressed", String(each === target));
    draw();
  });
  const next = async () => {
    const known = urls();
    const found = await Promise.allSettled((known.length ? known : [location.origin]).map(ask));
    if (found.some(({ status }) => status === "fulfilled")) draw();
    setTimeout(next, EVERY);
  };
  next();
}
