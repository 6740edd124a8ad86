// A WebSocket that comes back: exponential backoff with jitter, and it knows when not to.

const BASE = 500;
const LONGEST = 15000;
// Closed on purpose, by either side: coming back would be against somebody's will.
const FINAL = new Set([1000, 4000, 4001, 4002, 4123]);

export class RoomSocket extends EventTarget {
  #socket = null;
  #timer = 0;
  #attempt = 0;

  // Leave where we are, without a word, and join a room.
  join(room, name) {
    this.#drop();
    this.room = room;
    this.name = name;
    this.#attempt = 0;
    this.#connect();
  }

  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  close(code) {
    this.#socket?.close(code);
  }

  #drop() {
    clearTimeout(this.#timer);
    const old = this.#socket;
    this.#socket = null;
    old?.close(1000);
  }

  #connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/rooms/${encodeURIComponent(this.room)}`);
    let opened = false;
    this.#socket = socket;
    this.#tell("connecting", "connecting…");
    socket.onopen = () => {
      opened = true;
      socket.send(JSON.stringify({ type: "join", name: this.name }));
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      const message = JSON.parse(data);
      if (message.type === "welcome") {
        this.#attempt = 0;
        this.#tell("connected", "connected");
      }
      this.dispatchEvent(new CustomEvent("message", { detail: message }));
    };
    socket.onclose = (event) => {
      if (socket === this.#socket) this.#closed(event, opened);
    };
  }

  async #closed({ code, reason }, opened) {
    this.#socket = null;
    const room = this.room;
    this.dispatchEvent(new CustomEvent("closed", { detail: { code, reason, opened } }));
    if (FINAL.has(code)) return this.#tell("closed", `closed · ${code}`);
    // A browser does not say why a handshake failed. A server that answers otherwise refused it.
    if (!opened && (await answers()) && room === this.room && !this.#socket) {
      return this.#tell("refused", "refused");
    }
    if (room !== this.room || this.#socket) return;
    const most = Math.min(LONGEST, BASE * 2 ** this.#attempt++);
    const delay = most * (0.5 + Math.random() / 2);
    this.#tell("waiting", `back in ${(delay / 1000).toFixed(1)} s · ${code}`);
    this.#timer = setTimeout(() => this.#connect(), delay);
  }

  #tell(state, text) {
    this.dispatchEvent(new CustomEvent("state", { detail: { state, text } }));
  }
}

async function answers() {
  try {
    return (await fetch("/about")).ok;
  } catch {
    return false;
  }
}
