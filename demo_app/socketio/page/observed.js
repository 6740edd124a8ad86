// The numbers: reads this node's /metrics and draws what changed.

import { number, quantile, rate, samples, spark, time, whole } from "./numbers.js";
import { $, make } from "./view.js";

const EVERY = 1000;
const KEPT = 60;
// Histograms show the last minute.
const WINDOW = 62;
const HISTOGRAMS = {
  socketio_event_duration_seconds_bucket: "handler",
  engineio_ping_rtt_seconds_bucket: "rtt",
  engineio_ping_queue_delay_seconds_bucket: "delay",
  socketio_ack_latency_seconds_bucket: "ack",
  socketio_bus_lag_seconds_bucket: "lag",
};
const NAMES = [
  "socketio_connections_active", "socketio_connects_total", "socketio_disconnects_total",
  "socketio_events_total", "socketio_emits_total", "socketio_emit_recipients_sum",
  "socketio_acks_total", "socketio_acks_pending", "socketio_rooms", "socketio_room_members",
  "socketio_room_size", "socketio_bus_listener_up", "socketio_bus_lost_messages_total",
  ...Object.keys(HISTOGRAMS),
];
const QUERY = NAMES.map((name) => `name[]=${name}`).join("&");
const KIND = {
  ok: "good", accepted: "good", unhandled: "warn", cancelled: "warn", refused: "warn",
  error: "bad", unknown_namespace: "warn", server_disconnect: "app", client_disconnect: "good",
  transport_close: "good", ping_timeout: "bad", transport_lost: "bad", transport_error: "bad",
  server_shutdown: "warn",
};

const add = (map, key, value) => map.set(key, (map.get(key) ?? 0) + value);

function read(text) {
  const now = {
    at: performance.now() / 1000, clients: new Map(), events: new Map(), ends: new Map(),
    rooms: new Map(), total: 0, emits: 0, reached: 0, acks: new Map(), pending: 0, up: null, lost: 0,
  };
  for (const name of Object.values(HISTOGRAMS)) now[name] = new Map();
  for (const { name, labels, value } of samples(text)) take(now, name, labels, value);
  return now;
}

function take(now, name, labels, value) {
  const { namespace, category } = labels;
  if (name in HISTOGRAMS) add(now[HISTOGRAMS[name]], Number(labels.le.replace("+Inf", "Infinity")), value);
  else if (name === "socketio_connections_active" && namespace === "/") add(now.clients, labels.transport, value);
  else if (name === "socketio_connects_total" && value) add(now.ends, `${namespace} ${labels.outcome}`, value);
  else if (name === "socketio_disconnects_total" && value) add(now.ends, `${namespace} ${labels.reason}`, value);
  else if (name === "socketio_events_total" && value) takeEvent(now, labels, value);
  else if (name === "socketio_emits_total") now.emits += value;
  else if (name === "socketio_emit_recipients_sum") now.reached += value;
  else if (name === "socketio_acks_total") add(now.acks, labels.outcome, value);
  else if (name === "socketio_acks_pending") now.pending += value;
  else if (name === "socketio_bus_listener_up") now.up = value;
  else if (name === "socketio_bus_lost_messages_total") now.lost += value;
  else if (category && name.startsWith("socketio_room") && value) {
    const row = now.rooms.get(category) ?? {};
    now.rooms.set(category, { ...row, [name]: value });
  }
}

function takeEvent(now, { namespace, event, outcome }, value) {
  now.total += value;
  add(now.events, `${namespace === "/" ? "" : `${namespace} `}${event}\n${outcome}`, value);
}

function bars(id, rows) {
  const most = Math.max(...rows.map(({ count }) => count), 1);
  $(id).replaceChildren(
    ...rows.map(({ label, outcome, count }) => {
      const bar = make("i");
      bar.style.setProperty("--share", count / most);
      const kind = KIND[outcome] ?? "app";
      return make("li", kind, make("span", "", label), make("b", "", outcome.replaceAll("_", " ")), bar, make("output", "", whole.format(count)));
    }),
  );
  if (!rows.length) $(id).append(make("li", "none", "None yet"));
}

// Where there is no place for all, what went well can be spared.
const worstFirst = (a, b) => (KIND[a.outcome] === "good") - (KIND[b.outcome] === "good") || b.count - a.count;

function drawLists(now) {
  const events = [...now.events].map(([key, count]) => {
    const [label, outcome] = key.split("\n");
    return { label, outcome, count };
  });
  bars("events", events.sort(worstFirst).slice(0, 9));
  const ends = [...now.ends].map(([key, count]) => {
    const [label, outcome] = key.split(" ");
    return { label, outcome, count };
  });
  bars("ends", ends.sort(worstFirst).slice(0, 6));
  const cell = (row, name) => make("td", "", whole.format(row[name] ?? 0));
  $("categories").tBodies[0].replaceChildren(
    ...[...now.rooms].map(([category, row]) =>
      make("tr", "", make("th", "", category), cell(row, "socketio_rooms"), cell(row, "socketio_room_members"), cell(row, "socketio_room_size")),
    ),
  );
}

function busDetail({ up, lost }) {
  if (up === null) return "";
  return lost ? `${lost} lost` : up ? "up" : "down";
}

const history = [];

function draw(now) {
  const previous = history.at(-1) ?? now;
  const seconds = now.at - previous.at || 1;
  const before = history.find((each) => now.at - each.at <= WINDOW) ?? now;
  const young = history.length < 2;
  const of = (name, share) => quantile(share, now[name], young ? new Map() : before[name]);
  const [polling, websocket] = [now.clients.get("polling") ?? 0, now.clients.get("websocket") ?? 0];
  const acks = [...now.acks.values()].reduce((sum, count) => sum + count, 0);
  now.drawn = {
    clients: polling + websocket,
    events: (now.total - previous.total) / seconds,
    emits: (now.reached - previous.reached) / seconds,
    handler: of("handler", 0.99), rtt: of("rtt", 0.5), delay: of("delay", 0.99),
    acks: of("ack", 0.5), lag: of("lag", 0.5),
  };
  history.push(now);
  if (history.length > KEPT) history.shift();

  const { drawn } = now;
  number("n-clients", whole.format(drawn.clients), `ws ${websocket} · polling ${polling}`);
  number("n-events", whole.format(now.total), `${rate(drawn.events)}/s`);
  number("n-emits", whole.format(now.emits), `to ${whole.format(now.reached)}`);
  number("n-handler", time(drawn.handler));
  number("n-rtt", time(drawn.rtt), "p50");
  number("n-delay", time(drawn.delay), "p99");
  const missed = acks - (now.acks.get("ok") ?? 0);
  number("n-acks", time(drawn.acks), missed ? `${missed} missed` : `${acks} ok`);
  number("n-lag", now.up === null ? "no bus" : time(drawn.lag), busDetail(now));
  for (const name of Object.keys(drawn)) spark(`s-${name}`, history.map((each) => each.drawn[name] ?? 0));
  drawLists(now);
}

// Calls back with whether the bus is listened to, `null` where there is none.
export async function watch(tell) {
  try {
    const answer = await fetch(`/metrics?${QUERY}`);
    if (answer.ok) {
      const now = read(await answer.text());
      draw(now);
      tell(now.up);
    }
    $("panel").classList.toggle("stale", !answer.ok);
  } catch {
    $("panel").classList.add("stale");
  }
  setTimeout(watch, EVERY, tell);
}
