// Ties the client, the view and what is observed together.

import { Client } from "./client.js";
import { watch } from "./observed.js";
import { forgetAll, heard, known, showNodes, showPeople, showRooms } from "./people.js";
import { follow, pin, sent } from "./traces.js";
import { $, clearMessages, make, showChat, showEvent } from "./view.js";

const client = new Client();
const asked = new URLSearchParams(location.search);
const me = { room: asked.get("room") || "lobby", name: (asked.get("name") || "").trim(), sid: "", to: null };
let about = { rooms: ["lobby"], tokens: {}, bus: {} };

async function enter() {
  if (!me.name) return askName("Who should the others see?");
  $("join").hidden = true;
  history.replaceState(null, "", `?${new URLSearchParams({ room: me.room || "lobby", name: me.name })}`);
  client.open({ name: me.name, token: $("token").value });
}

function askName(why) {
  $("join-why").textContent = why;
  $("join-room").textContent = `#${me.room || "lobby"}`;
  $("join").hidden = false;
  $("name").value = me.name;
  $("name").focus();
}

async function join(room) {
  try {
    const { history: said } = await client.ask("join", { room });
    me.room = room;
    $("room-name").textContent = room;
    clearMessages();
    for (const old of said) show(old);
    showEvent(`You joined #${room}`, "good");
    whisperTo(null);
  } catch (error) {
    showEvent(error.message, "bad");
  }
  drawPeople();
}

// A message leads to its trace.
function show(message, aside = "") {
  const bubble = showChat(message, message.name === me.name, about.node);
  if (aside) bubble.prepend(make("small", "aside", aside));
  if (!message.trace) return;
  bubble.title = "Show its trace";
  bubble.classList.add("traced");
  bubble.onclick = () => pin(message.trace);
}

function drawPeople() {
  const enabled = client.connected;
  for (const each of document.querySelectorAll("#text, #send, .actions button")) each.disabled = !enabled;
  showNodes(about.node);
  showRooms(about.rooms, me.room, join);
  showPeople(me.sid, me.room, { Whisper: whisperTo, Ping: ping, Kick: kick });
  const shared = known().length > 1;
  document.body.classList.toggle("shared", shared);
}

function whisperTo(person) {
  me.to = person;
  $("to").hidden = !person;
  $("to").textContent = person ? `to ${person.name} ×` : "";
  $("text").placeholder = person ? "Only they hear it" : "Write to the room";
  $("text").focus({ preventScroll: true });
}

const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

// Do something of which the outcome is told as an event.
async function tell(work) {
  try {
    const [text, kind] = await work();
    if (text) showEvent(text, kind);
  } catch (error) {
    showEvent(error.message, "bad");
  }
}

const ping = ({ sid, name, node }) =>
  tell(async () => [`${name} on ${node} answered in ${ms((await client.ask("ping-user", { to: sid })).ms)}`, "good"]);

const kick = ({ sid, name }) =>
  tell(async () => {
    await client.askAdmin(about.tokens.admin, "kick", { sid });
    return [`/admin disconnected ${name}`, "warn"];
  });

async function say(text) {
  const { to } = me;
  await tell(async () => {
    if (!to) return [(await client.ask("say", { text })).warning ?? "", "warn"];
    const answer = await client.ask("whisper", { to: to.name, text });
    return [`You whispered to ${to.name}: “${text}”, heard after ${ms(answer.ms)}`, "good"];
  });
}

const ACTIONS = {
  async statistics() {
    const found = await client.ask("statistics");
    const [[name, often] = ["nobody", 0]] = found.most;
    return [`#${found.room}: ${found.messages} messages by ${found.speakers} from ${found.nodes} nodes, most by ${name} (${often})`, "good"];
  },
  async slow() {
    return [`That handler took ${(await client.ask("slow")).seconds} s`, "warn"];
  },
  async crash() {
    client.send("crash");
    return ["Its handler raised: Socket.IO tells the client nothing, the trace and the log say why", "bad"];
  },
  async nobody() {
    client.send("nobody-listens", "hello?");
    return ["No handler is registered for that event: it counts as unhandled", "warn"];
  },
  async refused() {
    return [`Refused: ${await client.refusal({ token: "wrong" })}`, "bad"];
  },
  async "admin-refused"() {
    client.leaveAdmin();
    await client.askAdmin("", "announce");
    return ["", ""];
  },
  async announce() {
    await client.askAdmin(about.tokens.admin, "announce", { text: `${me.name} greets all nodes` });
    return ["", ""];
  },
  async leave() {
    const { left } = await client.ask("leave");
    me.room = "";
    $("room-name").textContent = "nowhere";
    drawPeople();
    return [`You left #${left}, and are still connected`, "warn"];
  },
};

const hear = {
  state({ state, text, long = "" }) {
    $("state").dataset.state = state;
    $("state-text").replaceChildren(make("span", "long", long), text);
    drawPeople();
  },
  async in({ sid }) {
    me.sid = sid;
    await join(me.room || "lobby");
  },
  out({ reason, final }) {
    forgetAll();
    showEvent(`Disconnected: ${reason}`, "bad");
    if (final) askName("The server disconnected you. Come back?");
  },
  refused({ message }) {
    askName(message);
  },
  said(message) {
    show(message);
  },
  whispered(message) {
    show(message, "whispers to you");
  },
  poke({ name, node }) {
    showEvent(`${name} on ${node} pinged this page, which acknowledged it`);
  },
  announced({ text, node }) {
    showEvent(`/admin on ${node}: ${text}`, "good");
  },
  present(told) {
    heard(told, about.bus.system !== "memory");
    drawPeople();
  },
  trace: sent,
};
for (const [type, listener] of Object.entries(hear)) {
  client.addEventListener(type, ({ detail }) => listener(detail));
}

function showBus(up) {
  const state = up === null ? "memory" : up ? "up" : "down";
  $("bus").dataset.bus = state;
  $("bus-text").textContent = up === null ? "memory" : `${about.bus.system ?? "bus"} ${state}`;
}

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  me.name = $("name").value.trim();
  if (me.name) enter();
});

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || !client.connected) return;
  $("text").value = "";
  say(text);
});

$("to").addEventListener("click", () => whisperTo(null));

document.querySelector(".actions").addEventListener("click", ({ target }) => {
  const work = ACTIONS[target.dataset.do];
  if (work) tell(work);
});

$("transports").addEventListener("click", ({ target }) => {
  if (!target.dataset.transport) return;
  for (const each of $("transports").children) each.setAttribute("aria-pressed", String(each === target));
  client.transport = target.dataset.transport;
});

$("toggle").addEventListener("click", () => {
  const open = document.body.dataset.view === "panel";
  document.body.dataset.view = open ? "chat" : "panel";
  $("toggle").textContent = open ? "Observed" : "Chat";
});

async function begin() {
  about = await (await fetch("/about")).json();
  $("token").value = about.tokens.user;
  $("node").textContent = `${about.node}, pid ${about.pid}`;
  drawPeople();
  watch(showBus);
  follow();
  setInterval(drawPeople, 1000);
  await enter();
}

begin();
