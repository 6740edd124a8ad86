// Who is where, on all nodes: each tells its own, and is forgotten when it falls silent.

import { $, avatar, make } from "./view.js";

const FORGET = 7000;
const MOST_ROOMS = 6;
const nodes = new Map();
let drawnRooms = "";
let drawnPeople = "";
let open = "";

// A node alone has nobody who would miss it, and tells only what changed.
export function heard(told, shared) {
  nodes.set(told.node, { ...told, at: shared ? Date.now() : Infinity });
}

export function forgetAll() {
  nodes.clear();
}

export function known() {
  for (const [name, { at }] of nodes) if (Date.now() - at > FORGET) nodes.delete(name);
  return [...nodes.values()].sort((a, b) => (a.node < b.node ? -1 : 1));
}

const urlOf = ({ port }) => `${location.protocol}//${location.hostname}:${port}`;

export const urls = () => known().map(urlOf);

function* everybody() {
  for (const { node, people } of known()) for (const [sid, name, room] of people) yield { sid, name, room, node };
}

// A colour for each node, the same on every page.
export function nodeClass(name) {
  const place = known().findIndex(({ node }) => node === name);
  return `node-${place < 0 ? 0 : place % 4}`;
}

export function showNodes(here) {
  $("nodes").replaceChildren(
    ...known().map((each) => {
      const own = each.node === here;
      const link = make(own ? "span" : "a", `tag ${nodeClass(each.node)}`, own ? each.node : `${each.node} ↗`);
      link.title = "This page's node";
      if (!own) Object.assign(link, { href: urlOf(each), target: "_blank", title: "Open this node's page" });
      return link;
    }),
  );
}

export function showRooms(offered, current, choose) {
  const counts = new Map(offered.map((name) => [name, 0]));
  if (current && !counts.has(current)) counts.set(current, 0);
  for (const { rooms } of known()) {
    for (const [name, count] of Object.entries(rooms)) counts.set(name, (counts.get(name) ?? 0) + count);
  }
  const fullest = [...counts].sort((a, b) => b[1] - a[1]).slice(0, MOST_ROOMS).map(([name]) => name);
  const shown = [...counts].filter(
    ([name], place) => place < offered.length || name === current || fullest.includes(name),
  );
  // A button that is replaced under the finger hears no click.
  const wanted = JSON.stringify([shown, current]);
  if (wanted === drawnRooms) return;
  drawnRooms = wanted;
  $("rooms").replaceChildren(...shown.map(([name, count]) => roomButton(name, count, current, choose)));
}

function roomButton(name, count, current, choose) {
  const button = make("button", "", make("span", "hash", "#"), make("span", "name", name));
  button.type = "button";
  button.dataset.room = name;
  if (count) button.append(make("span", "count", `${count}`));
  if (name === current) button.setAttribute("aria-current", "page");
  button.onclick = () => choose(name);
  return button;
}

// Everybody on all nodes, those of this room first; who is chosen can be whispered to, asked, or
// thrown out.
export function showPeople(me, room, acts) {
  const all = [...everybody()].sort((a, b) => (b.room === room) - (a.room === room));
  const inside = all.filter((each) => room && each.room === room).map(({ name }) => name);
  const shown = inside.slice(0, 3).join(", ");
  const more = inside.length > 3 ? ` and ${inside.length - 3} more` : "";
  $("room-info").textContent = inside.length ? shown + more : "Not in the room";
  $("member-count").textContent = all.length;
  const wanted = JSON.stringify([all, me, room, open]);
  if (wanted === drawnPeople) return;
  drawnPeople = wanted;
  const again = () => showPeople(me, room, acts);
  $("members").replaceChildren(...all.map((each) => person(each, me, acts, again)));
}

function person(each, me, acts, again) {
  const row = make("button", "person", avatar(each.name), make("span", "who", each.name));
  row.type = "button";
  const own = each.sid === me;
  row.append(make("em", own ? "" : nodeClass(each.node), own ? "you" : each.node));
  if (own) row.disabled = true;
  row.setAttribute("aria-expanded", String(open === each.sid));
  row.onclick = () => {
    open = open === each.sid ? "" : each.sid;
    again();
  };
  const item = make("li", "", row);
  if (open === each.sid && !own) item.append(choices(each, acts));
  return item;
}

function choices(each, acts) {
  const row = make("div", "choices");
  for (const [label, act] of Object.entries(acts)) {
    const button = make("button", "", label);
    button.type = "button";
    button.onclick = () => act(each);
    row.append(button);
  }
  return row;
}
