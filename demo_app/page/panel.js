// The live panel: reads /metrics every two seconds and draws what changed.

import { number, quantile, rate, samples, spark, time, whole } from "./numbers.js";
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
  now.p50 = quantile(0.5, now.buckets, minute.buckets);
  now.p99 = quantile(0.99, now.buckets, minute.buckets);
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
