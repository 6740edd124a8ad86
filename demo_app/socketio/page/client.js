// The Socket.IO client of this page: one connection, perhaps with /admin on it as well.

/* global io, socketioObserve */

const TRANSPORTS = { auto: ["polling", "websocket"], websocket: ["websocket"], polling: ["polling"] };
// How long to wait for an answer. What a handler that fails is asked never gets one.
const PATIENCE = 5000;

export class Client extends EventTarget {
  #socket = null;
  #admin = null;
  #observed = [];
  #auth = {};
  #transport = "auto";

  // Connect, instead of whatever is connected now.
  open(auth) {
    this.#close();
    this.#auth = { ...auth, watch: true };
    const transports = TRANSPORTS[this.#transport];
    // Connected below: on one transport /admin would be asked for before its token is known.
    const socket = io({ auth: this.#auth, transports, forceNew: true, autoConnect: false });
    this.#socket = socket;
    this.#tell("state", { state: "connecting", text: "connecting…" });
    this.#observe(socket);
    socket.on("connect", () => {
      socket.io.engine.on("upgrade", () => this.#connected());
      this.#connected();
      this.#tell("in", { sid: socket.id });
    });
    socket.on("connect_error", (error) => this.#failed(socket, error));
    socket.on("disconnect", (reason) => this.#disconnected(socket, reason));
    for (const event of ["said", "announced", "present"]) {
      socket.on(event, (detail) => this.#tell(event, detail));
    }
    for (const event of ["whispered", "poke"]) {
      socket.on(event, (detail, ...rest) => {
        this.#tell(event, detail);
        rest.at(-1)?.("heard");
      });
    }
    socket.connect();
  }

  set transport(name) {
    this.#transport = name;
    if (this.#socket) this.open(this.#auth);
  }

  get connected() {
    return Boolean(this.#socket?.connected);
  }

  // Emit and forget.
  send(event, ...args) {
    this.#socket?.emit(event, ...args);
  }

  // Emit and wait for the acknowledgement; what it says is wrong is an error.
  ask(event, ...args) {
    return asked(this.#socket, event, args);
  }

  // The same in /admin, which is connected to before.
  async askAdmin(token, event, ...args) {
    return asked(await this.#asAdmin(token), event, args);
  }

  // Leave /admin: who comes back is asked for the token again.
  leaveAdmin() {
    this.#admin?.disconnect();
  }

  // Try to connect once more, apart from all else; return why that was refused.
  refusal(auth) {
    return new Promise((resolve) => {
      const socket = io({ auth, forceNew: true, reconnection: false, transports: ["websocket"] });
      const { stop } = this.#watched(socket);
      const done = (text) => {
        stop();
        socket.io.engine?.close();
        socket.disconnect();
        resolve(text);
      };
      socket.on("connect", () => done("it was not"));
      socket.on("connect_error", (error) => done(error.message));
    });
  }

  #asAdmin(token) {
    if (!this.#admin) {
      this.#admin = this.#socket.io.socket("/admin");
      this.#observe(this.#admin);
    }
    const admin = this.#admin;
    if (admin.connected) return Promise.resolve(admin);
    return new Promise((resolve, reject) => {
      admin.auth = token ? { token } : {};
      admin.once("connect", () => (admin.off("connect_error"), resolve(admin)));
      admin.once("connect_error", (error) => (admin.off("connect"), reject(error)));
      admin.connect();
    });
  }

  #close() {
    for (const each of this.#observed) each.stop();
    this.#observed = [];
    this.#admin?.disconnect();
    this.#socket?.off();
    this.#socket?.disconnect();
    this.#socket?.io.engine?.close();
    this.#socket = this.#admin = null;
  }

  #observe(socket) {
    this.#observed.push(this.#watched(socket));
  }

  // What the library gives to clients: each event carries trace context, here of ids alone.
  #watched(socket) {
    const onTrace = (sent) => this.#tell("trace", sent);
    return globalThis.socketioObserve?.observe(socket, { onTrace }) ?? { stop() {} };
  }

  #connected() {
    const name = this.#socket.io.engine.transport.name;
    this.#tell("state", { state: "connected", text: name, long: "connected · " });
  }

  #failed(socket, error) {
    if (socket !== this.#socket) return;
    // A server that refuses says why, and is not asked again.
    if (socket.active) return this.#tell("state", { state: "waiting", text: "tries again…" });
    this.#tell("state", { state: "refused", text: "refused" });
    this.#tell("refused", { message: error.message });
  }

  #disconnected(socket, reason) {
    if (socket !== this.#socket) return;
    const state = socket.active ? "waiting" : "closed";
    this.#tell("state", { state, text: reason });
    this.#tell("out", { reason, final: !socket.active });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function asked(socket, event, args) {
  if (!socket?.connected) return Promise.reject(new Error("Not connected."));
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("No answer.")), PATIENCE);
    socket.emit(event, ...args, (answer) => {
      clearTimeout(timer);
      if (answer?.error) reject(new Error(answer.error));
      else resolve(answer ?? {});
    });
  });
}
