// The live panel: reads /metrics every two seconds and draws what changed.

import { $, make } from "./view.js";

const EVERY = 2000;
const KEPT = 45;
const HANDLER = "ws_handler_duration_seconds_bucket";
const NAMES = [
  "ws_connections_active", "ws_connects_total", "ws_messages_total", "ws_closes_total",
  "ws_handshake_failures_total", HANDLER,
];
const QUERY = NAMES.map((name) => `name[]=${name}`).join("&");

const MEANING = {
  "1000 client": ["clean close", "good"], "1001 client": ["tab closed", "good"],
  "1005 client": ["no code given", "good"], "1006 network": ["vanished", "warn"],
  "1006 server": ["handler raised", "bad"], "1011 server": ["handler raised", "bad"],
  "1012 server": ["server restarts", "warn"],
  "4000 server": ["no name", "app"], "4001 server": ["kicked", "app"],
  "4002 server": ["name taken", "app"], "4008 server": ["reads too slowly", "app"],
  "4100 client": ["bored", "app"], "4xxx client": ["undeclared", "app"],
};

function* samples(text) {
  for (const line of text.split("\n")) {
    const found = /^(\w+)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!found || line.startsWith("#")) continue;
    const labels = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value;
    }
    yield { name: found[1], labels, value: Number(found[3]) };
  }
}

function read(text) {
  const now = { at: performance.now() / 1000, active: 0, connects: 0, in: 0, out: 0 };
  now.closes = new Map();
  now.buckets = new Map();
  for (const { name, labels, value } of samples(text)) {
    const add = (map, key) => map.set(key, (map.get(key) ?? 0) + value);
    if (name === "ws_connections_active") now.active += value;
    else if (name === "ws_connects_total") now.connects += value;
    else if (name === "ws_messages_total") now[labels.direction] += value;
    else if (name === "ws_closes_total" && value) add(now.closes, `${labels.code} ${labels.closed_by}`);
    else if (name === "ws_handshake_failures_total" && value) add(now.closes, `403 ${labels.reason}`);
    else if (name === HANDLER) add(now.buckets, Number(labels.le.replace("+Inf", "Infinity")));
  }
  return now;
}

// As histogram_quantile does it: linear inside the bucket.
function quantile(share, now, before) {
  const bounds = [...now.buckets.keys()].sort((a, b) => a - b);
  const grown = bounds.map((bound) => now.buckets.get(bound) - (before.buckets.get(bound) ?? 0));
  const total = grown.at(-1);
  if (!total) return null;
  const place = grown.findIndex((count) => count >= share * total);
  const [low, below] = place ? [bounds[place - 1], grown[place - 1]] : [0, 0];
  if (bounds[place] === Infinity) return low;
  return low + (bounds[place] - low) * ((share * total - below) / (grown[place] - below));
}

const NS = "http://www.w3.org/2000/svg";

function spark(id, values) {
  const svg = $(id);
  const [width, height] = [100, 28];
  const most = Math.max(...values, 1e-9);
  // A young history takes the whole width soon.
  const step = width / (Math.max(values.length, 12) - 1);
  const points = values.map((value, place) => {
    const x = width - (values.length - 1 - place) * step;
    return `${x.toFixed(1)} ${(height - 2 - (value / most) * (height - 5)).toFixed(1)}`;
  });
  if (!svg.firstChild) {
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.append(document.createElementNS(NS, "path"), document.createElementNS(NS, "path"));
  }
  const start = width - (values.length - 1) * step;
  const [area, line] = svg.children;
  line.setAttribute("d", `M${points.join("L")}`);
  area.setAttribute("d", `M${start} ${height}L${points.join("L")}L${width} ${height}Z`);
}

const whole = new Intl.NumberFormat();
const rate = (value) => (value < 10 ? value.toFixed(1) : whole.format(Math.round(value)));

function time(seconds) {
  if (seconds === null) return "–";
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  const thousandth = seconds * 1000;
  return `${thousandth < 10 ? thousandth.toFixed(1) : Math.round(thousandth)} ms`;
}

function number(id, text, detail = "") {
  $(id).replaceChildren(text, ...(detail ? [make("small", "", detail)] : []));
}

function drawCloses(closes) {
  const rows = [...closes].sort((a, b) => b[1] - a[1]).slice(0, 9);
  const most = Math.max(...rows.map(([, count]) => count), 1);
  $("closes").replaceChildren(
    ...rows.map(([key, count]) => {
      const [code, by] = key.split(" ");
      const [text, kind] = MEANING[key] ?? (code === "403" ? [by.replace("_", " "), "warn"] : [by, "app"]);
      const bar = make("i");
      bar.style.setProperty("--share", count / most);
      return make("li", kind, make("b", "", code), make("span", "", text), bar, make("output", "", whole.format(count)));
    }),
  );
  if (!rows.length) $("closes").append(make("li", "none", "None yet"));
}

const history = [];

function draw(now) {
  const previous = history.at(-1) ?? now;
  const seconds = now.at - previous.at || 1;
  now.rates = { in: (now.in - previous.in) / seconds, out: (now.out - previous.out) / seconds };
  now.rates.connects = (now.connects - previous.connects) / seconds;
  const minute = history.find((each) => now.at - each.at <= 62) ?? { buckets: new Map() };
  now.p50 = quantile(0.5, now, minute);
  now.p99 = quantile(0.99, now, minute);
  history.push(now);
  if (history.length > KEPT) history.shift();

  number("n-active", whole.format(now.active));
  number("n-connects", whole.format(now.connects));
  number("n-in", whole.format(now.in), `${rate(now.rates.in)}/s`);
  number("n-out", whole.format(now.out), `${rate(now.rates.out)}/s`);
  number("n-p50", time(now.p50));
  number("n-p99", time(now.p99));
  spark("s-active", history.map((each) => each.active));
  for (const name of ["connects", "in", "out"]) spark(`s-${name}`, history.map((each) => each.rates[name]));
  for (const name of ["p50", "p99"]) spark(`s-${name}`, history.map((each) => each[name] ?? 0));
  drawCloses(now.closes);
}

export async function watch() {
  try {
    const answer = await fetch(`/metrics?${QUERY}`);
    if (answer.ok) draw(read(await answer.text()));
    $("panel").classList.toggle("stale", !answer.ok);
  } catch {
    $("panel").classList.add("stale");
  }
  setTimeout(watch, EVERY);
}
