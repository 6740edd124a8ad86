// Does what one scenario says with a real socket.io-client, and prints what it saw as JSON.
// Usage: node socketio_client.js http://host:port library helper scenario [http://other:port]
"use strict";
const api = require("@opentelemetry/api");
const { AsyncLocalStorageContextManager } = require("@opentelemetry/context-async-hooks");
const sdk = require("@opentelemetry/sdk-trace-base");
const { WebSocketServer } = require("ws");

const [url, library, helper, scenario, other] = process.argv.slice(2);
const { io } = require(library);
const { observe } = require(helper);

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const CARRIER = { traceparent: `00-${TRACE}-b7ad6b7169203331-01` };
const exporter = new sdk.InMemorySpanExporter();
const opened = [];
const unhandled = [];
process.on("uncaughtException", (error) => unhandled.push(error.message));

function useSdk() {
  const spanProcessors = [new sdk.SimpleSpanProcessor(exporter)];
  api.trace.setGlobalTracerProvider(new sdk.BasicTracerProvider({ spanProcessors }));
  api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
}

function finished() {
  return exporter.getFinishedSpans().map((span) => ({
    name: span.name,
    kind: api.SpanKind[span.kind],
    trace: span.spanContext().traceId,
    span: span.spanContext().spanId,
    parent: span.parentSpanContext ? span.parentSpanContext.spanId : null,
    links: span.links.map((each) => each.context.spanId),
    attributes: span.attributes,
    failed: span.status.code === api.SpanStatusCode.ERROR,
    events: span.events.map((each) => each.name),
    ms: span.duration[0] * 1e3 + span.duration[1] / 1e6,
  }));
}

function open(options, place = "") {
  const quick = { reconnectionDelay: 10, randomizationFactor: 0, forceNew: true };
  const socket = io(url + place, { transports: ["websocket"], ...quick, ...options });
  opened.push(socket);
  return socket;
}

const heard = (socket, event) => new Promise((resolve) => socket.once(event, (...a) => resolve(a)));
const asked = (socket, ...args) => new Promise((resolve) => socket.emit(...args, resolve));

async function until(condition) {
  const ends = Date.now() + 10000;
  while (!condition()) {
    if (Date.now() > ends) throw new Error(`it does not become true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Serve on a free port, and leave instead of answering who connects; return where that is. */
async function leaving() {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  const welcome = { sid: "x", upgrades: [], pingInterval: 25000, pingTimeout: 20000 };
  server.on("connection", (peer) => {
    peer.send(`0${JSON.stringify(welcome)}`);
    peer.on("message", () => peer.terminate());
  });
  await new Promise((resolve) => server.once("listening", resolve));
  return `http://127.0.0.1:${server.address().port}`;
}

/** Connect, observed and with spans. */
async function connected(options, settings, place) {
  useSdk();
  const socket = open(options, place);
  observe(socket, { api, ...settings });
  await heard(socket, "connect");
  return socket;
}

const scenarios = {
  async connect() {
    useSdk();
    await api.trace.getTracer("test").startActiveSpan("work", async (span) => {
      const socket = open();
      observe(socket, { api });
      await heard(socket, "connect");
      span.end();
    });
  },

  async reconnect() {
    useSdk();
    const socket = open({ auth: { token: "1" }, autoConnect: false });
    observe(socket, { api });
    // Still current when the timer of the reconnection fires.
    api.trace.getTracer("test").startActiveSpan("work", () => socket.connect());
    await heard(socket, "connect");
    socket.auth.token = "2";
    socket.io.engine.close();
    await heard(socket, "connect");
    return { auth: socket.auth };
  },

  async auth() {
    useSdk();
    let turn = 0;
    const auth = (send) => send({ turn: ++turn });
    const kinds = [auth, undefined, { token: "t" }, { traceparent: "mine" }];
    for (const each of kinds) {
      const socket = open({ auth: each });
      observe(socket, { api });
      await heard(socket, "connect");
      if (socket.auth !== each) throw new Error("the application's auth has changed");
    }
    const without = open({ auth: { token: "none" } });
    observe(without, { api, auth: false });
    await heard(without, "connect");
  },

  async refused() {
    useSdk();
    const closed = open({}, "/closed");
    observe(closed, { api });
    const [error] = await heard(closed, "connect_error");
    const nobody = io("http://127.0.0.1:1", { transports: ["websocket"], reconnection: false });
    observe(nobody, { api });
    await heard(nobody, "connect_error");
    const left = open({ autoConnect: false });
    observe(left, { api });
    left.connect();
    left.disconnect();
    const lost = io(await leaving(), { transports: ["websocket"], reconnection: false });
    observe(lost, { api });
    await new Promise((resolve) => lost.io.on("close", () => setTimeout(resolve)));
    return { error: error.message };
  },

  async send() {
    const seen = [];
    const socket = await connected();
    if (socket.onAnyOutgoing) {
      socket.onAnyOutgoing((...args) => {
        seen.push(args);
        if (args[0] === "some") socket.emit("nested");
      });
    }
    await api.trace.getTracer("test").startActiveSpan("work", async (span) => {
      const args = [1, { a: [null] }];
      // First of all, since it is dropped where anything else waits.
      await until(() => socket.io.engine.transport.writable);
      socket.volatile.emit("volatile", "v");
      socket.emit("some", ...args);
      socket.emit("none");
      socket.emit("binary", Buffer.from("b"));
      socket.compress(false).send("hi");
      span.end();
      seen.push(args);
    });
    await asked(socket, "echo");
    return { seen };
  },

  async chosen() {
    const socket = await connected({}, { inject: ["echo"] });
    socket.emit("other", 1);
    await asked(socket, "echo", 1);
    const none = await connected({}, { inject: false });
    await asked(none, "echo", 2);
  },

  async ack() {
    const socket = await connected();
    const current = await new Promise((resolve) => {
      socket.emit("echo", "a", Buffer.from("b"), function (...args) {
        const span = api.trace.getActiveSpan();
        resolve([this === socket, args.length, args[0], span && span.spanContext().spanId]);
      });
    });
    return { current };
  },

  async promise() {
    const socket = await connected();
    const answer = await socket.emitWithAck("echo", "a");
    const later = await socket.timeout(5000).emitWithAck("echo", "b");
    const failures = [];
    await socket.timeout(5).emitWithAck("silent").catch((error) => failures.push(error.message));
    await new Promise((resolve) => {
      socket.timeout(5).emit("silent", (error) => resolve(failures.push(error.message)));
    });
    const lost = socket.emitWithAck("silent").catch((error) => failures.push(error.message));
    socket.disconnect();
    await lost;
    return { answer, later, failures };
  },

  async retries() {
    useSdk();
    const socket = open({ retries: 1, ackTimeout: 250, autoConnect: false });
    observe(socket, { api });
    const early = asked(socket, "echo", "early");
    socket.connect();
    const answers = [await early, await asked(socket, "echo", "late")];
    const [error] = [await asked(socket, "silent", "lost")];
    socket.emit("echo", "unanswered");
    await asked(socket, "echo", "last");
    return { answers, error: error.message };
  },

  async buffered() {
    useSdk();
    const socket = open({ autoConnect: false });
    observe(socket, { api });
    socket.emit("first", 1);
    const answer = asked(socket, "echo", 2);
    socket.connect();
    return { answer: await answer };
  },

  async process() {
    const socket = await connected();
    const seen = [];
    const any = [];
    socket.onAny((...args) => any.push(args.filter((each) => typeof each !== "function")));
    socket.on("news", (...args) => {
      const answer = typeof args[args.length - 1] === "function" ? args.pop() : () => {};
      seen.push([args.length, args[0], api.trace.getActiveSpan().spanContext().spanId]);
      answer(...args);
    });
    socket.emit("tell", "news", [1, CARRIER]);
    socket.emit("tell", "news", [1, Buffer.from("b"), CARRIER]);
    socket.emit("tell", "news", [{ _traceContext: CARRIER }]);
    socket.emit("tell", "news", [{ ...CARRIER, user: 7 }]);
    socket.emit("ask", "news", ["asked", CARRIER]);
    await until(() => seen.length === 5);
    await asked(socket, "echo");
    return { seen, any };
  },

  async untrusted() {
    const socket = await connected({}, { trustServer: false });
    socket.emit("tell", "news", [1, CARRIER]);
    return { args: await heard(socket, "news") };
  },

  async fails() {
    const socket = await connected();
    socket.on("news", () => {
      throw new TypeError("of the application");
    });
    socket.emit("tell", "news", []);
    await until(() => unhandled.length);
    let reserved = "";
    try {
      socket.emit("connect");
    } catch (error) {
      reserved = error.message;
    }
    return { unhandled, reserved };
  },

  async namespaces() {
    useSdk();
    const first = open();
    observe(first, { api });
    const second = first.io.socket("/chat");
    observe(second, { api });
    await Promise.all([heard(first, "connect"), heard(second, "connect")]);
    await asked(first, "echo", 1);
    await asked(second, "echo", 2);
  },

  async idsonly() {
    const told = [];
    const socket = open();
    observe(socket, { onTrace: (each) => told.push(each) });
    await heard(socket, "connect");
    await asked(socket, "echo", 1);
    socket.emit("tell", "news", [1, CARRIER]);
    const args = await heard(socket, "news");
    return { told, args };
  },

  async nosdk() {
    const told = [];
    const socket = open();
    observe(socket, { api, onTrace: (each) => told.push(each) });
    await heard(socket, "connect");
    await asked(socket, "echo", 1);
    return { told };
  },

  async broken() {
    const fail = () => {
      throw new Error("of the SDK");
    };
    const proxy = new Proxy({}, { get: fail });
    const socket = open();
    observe(socket, { api: proxy, onTrace: fail });
    await heard(socket, "connect");
    await asked(socket, "echo", 1);
    socket.emit("tell", "news", [1, CARRIER]);
    const args = await heard(socket, "news");
    const handles = [observe(null), observe({}), observe(Object.freeze({ emit() {} }))];
    handles.forEach((each) => each.stop());
    return { args, unhandled };
  },

  /** Say something to a client of another node. */
  async across() {
    const speaker = await connected({ query: { trust: "yes" } });
    const listener = io(other, { transports: ["websocket"], forceNew: true });
    opened.push(listener);
    observe(listener, { api });
    await heard(listener, "connect");
    await asked(listener, "join", "room:one");
    const said = heard(listener, "said");
    await asked(speaker, "say", "room:one", "hello");
    return { said: await said };
  },

  async names() {
    const socket = await connected();
    for (let i = 0; i < 102; i++) socket.emit(`event ${i}`);
    await asked(socket, "event 7");
  },

  async stop() {
    useSdk();
    const socket = open();
    const before = Object.getOwnPropertyNames(socket).length;
    const handle = observe(socket, { api });
    const same = observe(socket) === handle;
    await heard(socket, "connect");
    const patched = socket.emit;
    const above = function (...args) {
      return patched.apply(this, args);
    };
    socket.emit = above;
    handle.stop();
    handle.stop();
    const left = socket.emit === above;
    await asked(socket, "echo", 1);
    delete socket.emit;
    const own = ["emit", "packet", "onevent", "emitEvent", "onconnect", "connect", "disconnect"];
    const clean = own.every((each) => !Object.prototype.hasOwnProperty.call(socket, each));
    socket.io.engine.close();
    await heard(socket, "connect");
    return { before: before > 0, same, left, clean, again: observe(socket) !== handle };
  },
};

(async () => {
  const seen = await scenarios[scenario]();
  opened.forEach((each) => each.disconnect());
  process.stdout.write(JSON.stringify({ ...seen, spans: finished() }));
  process.exit(0);
})().catch((error) => {
  process.stderr.write(error.stack);
  process.exit(1);
});
