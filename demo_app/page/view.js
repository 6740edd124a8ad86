// What is on the page. Text from people only ever becomes textContent.

export const $ = (id) => document.getElementById(id);

export function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

function hue(name) {
  let hash = 7;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  return (hash * 47) % 360;
}

export function avatar(name) {
  const initials = [...name.matchAll(/\p{L}|\p{N}/gu)].map(([char]) => char);
  const words = name.split(/\s+/).filter(Boolean);
  const second = words.length > 1 ? [...words.at(-1)][0] : "";
  const element = make("span", "avatar", (initials[0] ?? "?") + second);
  element.style.setProperty("--hue", hue(name));
  element.setAttribute("aria-hidden", "true");
  return element;
}

const clock = (at) =>
  new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

const MOST_ROOMS = 6;
let last = null;

export function clearMessages() {
  last = null;
  $("messages").replaceChildren();
}

function append(item) {
  const list = $("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 120;
  list.append(item);
  while (list.children.length > 300) list.firstChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

let here = "";

// Which node this is, and whether it hears the others.
export function showBus({ node, nodes, bus }) {
  const shared = bus.system !== "memory";
  here = node;
  document.body.classList.toggle("shared", shared);
  $("place").hidden = false;
  $("place-node").textContent = node;
  $("bus").dataset.bus = shared ? (bus.up ? "up" : "down") : "memory";
  $("bus-text").textContent = shared ? `${bus.system} ${bus.up ? "up" : "down"}` : "memory";
  $("c-nodes").textContent = nodes.join(", ");
}

// Returns the bubble.
export function showChat({ name, text, at, node }, own, home = here) {
  const follows = last?.name === name && last.node === node && at - last.at < 120;
  last = { name, at, node };
  const bubble = make("div", "bubble", text);
  const item = make("li", `message${own ? " own" : ""}${follows ? " follows" : ""}`);
  if (follows) {
    item.append(make("span", "avatar gap"), bubble);
  } else {
    const author = make("span", "author", name);
    author.style.setProperty("--hue", hue(name));
    const from = make("span", node === home ? "from" : "from other", node);
    const head = make("div", "head", author, from, make("time", "", clock(at)));
    item.append(avatar(name), make("div", "body", head, bubble));
  }
  append(item);
  return bubble;
}

export function showEvent(text, kind = "") {
  last = null;
  append(make("li", `event ${kind}`, make("span", "", text)));
}

export function showMembers(names, me) {
  $("member-count").textContent = names.length;
  $("members").replaceChildren(
    ...names.map((name) => {
      const item = make("li", "", avatar(name), make("span", "who", name));
      if (name === me) item.append(make("em", "", "you"));
      return item;
    }),
  );
  const shown = names.slice(0, 3).join(", ");
  const more = names.length > 3 ? ` and ${names.length - 3} more` : "";
  $("room-info").textContent = names.length ? shown + more : "Not in the room";
}

let drawn = "";

export function showRooms(rooms, privateRoom, current, choose) {
  // A button that is replaced under the finger hears no click.
  const wanted = JSON.stringify([rooms, current]);
  if (wanted === drawn) return;
  drawn = wanted;
  const button = (name, detail, locked) => {
    const element = make("button", locked ? "locked" : "");
    element.type = "button";
    element.append(make("span", "hash", locked ? "×" : "#"), make("span", "name", name));
    if (detail) element.append(make("span", "count", detail));
    if (name === current) element.setAttribute("aria-current", "page");
    element.dataset.room = name;
    element.onclick = () => choose(name);
    return element;
  };
  // Those of the load are many: only the fullest.
  const shown = Object.entries(rooms)
    .sort((a, b) => b[1] - a[1])
    .slice(0, MOST_ROOMS)
    .map(([name]) => name);
  const listed = Object.entries(rooms).filter(
    ([name], place) => place < 3 || name === current || shown.includes(name),
  );
  const focused = document.activeElement?.dataset?.room;
  const list = listed.map(([name, count]) => button(name, count ? `${count}` : ""));
  $("rooms").replaceChildren(...list, button(privateRoom, "refused", true));
  if (focused) $("rooms").querySelector(`[data-room="${CSS.escape(focused)}"]`)?.focus();
}
