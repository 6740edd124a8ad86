// Ties the socket, the view and the panel together.

import { watch } from "./panel.js";
import { RoomSocket } from "./socket.js";
import { $, clearMessages, showBus, showChat, showEvent, showMembers, showRooms } from "./view.js";

const socket = new RoomSocket();
const asked = new URLSearchParams(location.search);
const me = { room: asked.get("room") || "lobby", name: (asked.get("name") || "").trim() };
const typists = new Map();

function enter(room) {
  me.room = room;
  $("room-name").textContent = room;
  $("join-room").textContent = `#${room}`;
  clearMessages();
  nobody();
  listRooms();
  if (!me.name) return askName("Who should the others see?");
  $("join").hidden = true;
  const query = new URLSearchParams({ room, name: me.name });
  history.replaceState(null, "", `?${query}`);
  socket.join(room, me.name);
}

function nobody() {
  typists.clear();
  showTypists();
  showMembers([], me.name);
}

function askName(why) {
  $("join-why").textContent = why;
  $("join").hidden = false;
  $("name").value = me.name;
  $("name").focus();
}

async function listRooms() {
  try {
    const about = await (await fetch("/about")).json();
    const rooms = { ...about.rooms };
    if (me.room !== about.private) rooms[me.room] ??= 0;
    showRooms(rooms, about.private, me.room, enter);
    showBus(about);
    tellOfBus(about.bus.up);
    $("node").textContent = about.workers > 1 ? `${about.workers} workers` : `pid ${about.pid}`;
  } catch {
    // The state shows that the server is away.
  }
}

let busWasUp = true;

// Once for each time that it goes or comes back.
function tellOfBus(up) {
  if (up === busWasUp) return;
  busWasUp = up;
  if (up) showEvent("The bus is back: all nodes hear each other", "good");
  else showEvent("The bus is down: this node only hears itself, and tries again", "warn");
}

const hear = {
  welcome(message) {
    me.name = message.name;
    clearMessages();
    for (const old of message.history) showChat(old, old.name === me.name);
    showEvent(`You joined #${message.room}`, "good");
    showMembers(message.members, me.name);
    $("c-id").textContent = message.connection;
    $("c-trace").textContent = message.trace || "no trace";
    $("c-pid").textContent = `${message.node}, pid ${message.pid}`;
    // What was said about it is no longer on the page.
    busWasUp = true;
    listRooms();
  },
  join(message) {
    showEvent(`${message.name} joined`);
    showMembers(message.members, me.name);
  },
  leave(message) {
    typists.delete(message.name);
    showEvent(`${message.name} left`);
    showMembers(message.members, me.name);
  },
  members(message) {
    showMembers(message.members, me.name);
  },
  chat(message) {
    typists.delete(message.name);
    showTypists();
    showChat(message, message.name === me.name);
  },
  typing(message) {
    typists.set(message.name, Date.now());
    showTypists();
    setTimeout(showTypists, 3100);
  },
  notice(message) {
    showEvent(message.text, "warn");
  },
};

function showTypists() {
  for (const [name, since] of typists) if (Date.now() - since > 3000) typists.delete(name);
  const names = [...typists.keys()].slice(0, 3);
  $("typing").textContent = names.length
    ? `${names.join(", ")} ${names.length > 1 ? "are" : "is"} typing…`
    : "";
}

socket.addEventListener("message", ({ detail }) => hear[detail.type]?.(detail));

socket.addEventListener("state", ({ detail: { state, text } }) => {
  $("state").dataset.state = state;
  $("state-text").textContent = text;
  const connected = state === "connected";
  for (const each of document.querySelectorAll("#text, #send, .actions button")) each.disabled = !connected;
  if (connected) $("text").focus({ preventScroll: true });
  if (state === "refused") showEvent("The server refused this room before the handshake.", "bad");
});

const WHY = { 4000: "A name, please.", 4002: "Somebody in this room has that name. Another?" };

socket.addEventListener("closed", ({ detail: { code, reason, opened } }) => {
  $("c-close").textContent = reason ? `${code} ${reason}` : code;
  nobody();
  if (opened) showEvent(`Closed with ${code}${reason ? `: ${reason}` : ""}`, code === 1000 ? "" : "bad");
  if (code in WHY) askName(WHY[code]);
  else if (opened && (code === 1000 || code >= 4000)) askName("You are out. Come back?");
});

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  me.name = $("name").value.trim();
  if (me.name) enter(me.room);
});

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (text && socket.send({ type: "chat", text })) $("text").value = "";
});

let told = 0;
$("text").addEventListener("input", () => {
  if (Date.now() - told > 2000 && $("text").value) {
    told = Date.now();
    socket.send({ type: "typing" });
  }
});

const ACTIONS = { close: () => socket.close(1000), "close-odd": () => socket.close(4123) };

document.querySelector(".actions").addEventListener("click", ({ target }) => {
  const what = target.dataset.do;
  if (what) (ACTIONS[what] ?? (() => socket.send({ type: what })))();
});

$("toggle").addEventListener("click", () => {
  const open = document.body.dataset.view === "panel";
  document.body.dataset.view = open ? "chat" : "panel";
  $("toggle").textContent = open ? "Numbers" : "Chat";
});

enter(me.room);
watch();
setInterval(listRooms, 2000);
