/**
 * Trace context and spans for socket.io-client 3 and 4, in browsers and in Node.
 *
 *     <script src="socketio-observe.js"></script>
 *     <script>socketioObserve.observe(io());</script>
 *
 * Or `require("./socketio-observe.js")`, or `import { observe } from "./socketio-observe.mjs"`.
 *
 * INSTRUMENT THE SERVER FIRST. Every event gets one argument more, `{traceparent: "00-..."}`. An
 * instrumented server takes it off; the handlers of any other one are called with it.
 */
(function (root) {
  "use strict";

  /**
   * @typedef {object} Options
   * @property {object} [api] The module `@opentelemetry/api`. Without it, or without an SDK behind
   *   it, no spans are made, and what is sent carries new random ids. Default: none.
   * @property {boolean|string[]} [inject] Which events carry trace context: `true` for all, `false`
   *   for none, or their names. Default: `true`.
   * @property {boolean} [auth] Whether what is connected with carries it, as the key `traceparent`
   *   beside those of `socket.auth`, anew at each reconnection. Default: `true`.
   * @property {boolean} [trustServer] Whether an event's span belongs to the trace of the server
   *   that sent it; `false` for a trace of its own with a link. Default: `true`.
   * @property {function(Sent): void} [onTrace] Called for each event that is sent with trace
   *   context, and for each connection, as the event `connect`. Default: none.
   *
   * @typedef {object} Sent
   * @property {string} event
   * @property {string} namespace
   * @property {string} traceId 32 hexadecimal digits.
   */

  const CLIENT = 2, PRODUCER = 3, CONSUMER = 4; // SpanKind of @opentelemetry/api
  const ERROR = 2; // SpanStatusCode
  const CONNECT = 0, EVENT = 2, CONNECT_ERROR = 4; // PacketType of socket.io-parser
  const MAX_EVENTS = 100; // names of one socket that its spans have; every other one is _other
  const MAX_NAME = 256; // characters
  const MAX_VALUE = 8192; // characters
  const HANDLE = Symbol.for("asgi_ws_observe.socketio");
  const KEYS = ["traceparent", "tracestate", "baggage"];
  const RESERVED = [
    "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener",
  ];
  // Those that socket.io-client itself looks up on the socket each time.
  const METHODS = [
    "emit", "packet", "onevent", "emitEvent", "onconnect", "connect", "disconnect",
  ];
  // W3C Trace Context: version ff and ids of zeros are invalid, later versions may be longer.
  const PARENT = new RegExp(
    "^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})" +
      "(-.{0,72})?$",
  );
  const ERROR_TYPES = {
    "operation has timed out": "TimeoutError",
    "socket has been disconnected": "DisconnectedError",
    timeout: "TimeoutError",
  };

  /** Do something of our own, and let the application never notice that it failed. */
  function quietly(work) {
    try {
      return work();
    } catch (error) {
      return undefined;
    }
  }

  /** Return whether a value is an object as JSON makes them. */
  function isPlain(value) {
    if (typeof value !== "object" || value === null) return false;
    const prototype = Object.getPrototypeOf(value);
    return prototype === null || Object.getPrototypeOf(prototype) === null;
  }

  /** Return a random id of so many bytes, hexadecimal; never one of zeros only. */
  function randomId(bytes) {
    const values = new Uint8Array(bytes);
    if (root.crypto && root.crypto.getRandomValues) root.crypto.getRandomValues(values);
    else for (let i = 0; i < bytes; i++) values[i] = Math.random() * 256;
    values[0] |= 1;
    return Array.from(values, (each) => each.toString(16).padStart(2, "0")).join("");
  }

  /** Return the span context that an argument carries, `null` where it is the application's. */
  function carried(value) {
    if (!isPlain(value)) return null;
    if ("_traceContext" in value && Object.keys(value).length === 1) value = value._traceContext;
    if (!isPlain(value) || !("traceparent" in value)) return null;
    const bounded = (key) =>
      KEYS.includes(key) && typeof value[key] === "string" && value[key].length <= MAX_VALUE;
    if (!Object.keys(value).every(bounded)) return null;
    const found = PARENT.exec(value.traceparent);
    if (!found || (found[1] === "00" && found[5] !== undefined)) return null;
    const flags = parseInt(found[4], 16);
    const state = value.tracestate;
    return { traceId: found[2], spanId: found[3], traceFlags: flags, isRemote: true, state };
  }

  /** Return what carries a span context. */
  function carrierOf(context) {
    const flags = (context.traceFlags & 255).toString(16).padStart(2, "0");
    const carrier = { traceparent: `00-${context.traceId}-${context.spanId}-${flags}` };
    const state = context.traceState && context.traceState.serialize();
    if (state) carrier.tracestate = state;
    return carrier;
  }

  /** Return what can stand in `error.type`. */
  function errorType(error) {
    const known = ERROR_TYPES[error && error.message] || (error && (error.type || error.name));
    return String(known || "Error").slice(0, MAX_NAME);
  }

  /**
   * Makes the spans of one socket.
   *
   * A step is `{identity, context, span}`: a span context, the context in which its span is the
   * current one, and the span, `null` where only ids are made.
   */
  class Spans {
    constructor(api, namespace) {
      this.api = api;
      this.namespace = namespace;
      this.names = new Map();
    }

    /** Return an event's name as spans have it. */
    name(event) {
      const raw = String(event).slice(0, MAX_NAME);
      if (!this.names.has(raw)) {
        if (this.names.size >= MAX_EVENTS) return "_other";
        this.names.set(raw, raw);
      }
      return raw;
    }

    /** Return the current context, or the one without a span. */
    context(alone) {
      if (!this.api) return undefined;
      return alone ? this.api.ROOT_CONTEXT : this.api.context.active();
    }

    /**
     * Begin a step.
     * @param {string} doing The first word of its span's name.
     * @param {*} event The event, `undefined` for none.
     * @param {number} kind The span's kind.
     * @param {string} [operation] The value of `messaging.operation.type`.
     * @param {object} parent The context of its span's parent.
     * @param {object} [link] A span context that it belongs to.
     */
    begin(doing, event, kind, operation, parent, link) {
      const step = this.api
        ? quietly(() => this.start(doing, event, kind, operation, parent, link))
        : undefined;
      if (step) return step;
      const identity = { traceId: randomId(16), spanId: randomId(8), traceFlags: 1 };
      return { identity, context: parent, span: null };
    }

    start(doing, event, kind, operation, parent, link) {
      const attributes = {
        "messaging.system": "socket.io",
        "messaging.destination.name": this.namespace,
        "messaging.socket.io.namespace": this.namespace,
      };
      let name = `${doing} ${this.namespace}`;
      if (operation) attributes["messaging.operation.type"] = operation;
      if (event !== undefined) {
        const known = this.name(event);
        name = `${doing} ${known}`;
        attributes["messaging.socket.io.event_name"] = known;
      }
      const links = link ? [{ context: link }] : [];
      const tracer = this.api.trace.getTracer("asgi_ws_observe");
      const span = tracer.startSpan(name, { kind, attributes, links }, parent);
      const identity = span.spanContext();
      // Without an SDK there is no span; one that was current then is still sent along.
      if (!this.api.trace.isSpanContextValid(identity)) return undefined;
      return { identity, context: this.api.trace.setSpan(parent, span), span };
    }

    /** End a step, as a failure where there is an error. */
    end(step, error, type) {
      if (!step || !step.span) return;
      quietly(() => {
        if (error !== undefined) {
          const message = String((error && error.message) || error).slice(0, MAX_NAME);
          if (error instanceof Error) step.span.recordException(error);
          step.span.setAttribute("error.type", type || errorType(error));
          step.span.setStatus({ code: ERROR, message });
        }
        step.span.end();
      });
    }

    /** Call a function where a step is current. */
    within(step, work) {
      if (!step || !step.span) return work();
      let called = false;
      const once = () => {
        called = true;
        return work();
      };
      try {
        return this.api.context.with(step.context, once);
      } catch (error) {
        if (called) throw error;
        return work();
      }
    }

    /** Return a sender's span context as the API has it. */
    remote(found) {
      const { state, ...context } = found;
      const traceState = state && quietly(() => this.api.createTraceState(state));
      return traceState ? { ...context, traceState } : context;
    }
  }

  /** Follows one socket. */
  class Observer {
    constructor(socket, options) {
      this.socket = socket;
      this.options = options;
      this.spans = new Spans(options.api, String(socket.nsp));
      this.active = true;
      this.patches = [];
      this.listeners = [];
      this.attempt = null; // the step of a connection that is being made
      this.last = undefined; // the span context of the last one
      this.sending = null; // the step of the event that is being emitted
      this.steps = new WeakMap(); // packet that waits, or the queue's callback -> step
      this.senders = new WeakMap(); // arguments of an event -> its sender's span context
    }

    start() {
      const { socket } = this;
      for (const name of METHODS) {
        this.patch(name, (original, self, args) => this[name](original, self, args));
      }
      this.listen("reconnect_attempt", () => socket.active && this.attempts(true));
      this.listen("error", (error) => this.attempted(error));
      this.listen("close", (reason) => {
        // A refused socket is closed before it is told why.
        const { attempt } = this;
        Promise.resolve().then(() => {
          if (this.attempt === attempt) this.attempted(String(reason), "CloseError");
        });
      });
      this.listen("packet", (packet) => {
        const { nsp, type, data } = packet;
        // A server of version 2 answers without an id.
        const refused = type === CONNECT_ERROR || (type === CONNECT && !(data && data.sid));
        if (nsp !== socket.nsp || !refused) return;
        this.attempted((data && data.message) || "refused", "ConnectError");
      });
      if (socket.active) quietly(() => this.attempts(false));
    }

    /** Put a method of our own before the socket's; once it is stopped, it only leads there. */
    patch(name, own) {
      const { socket } = this;
      const original = socket[name];
      if (typeof original !== "function") return;
      const earlier = Object.getOwnPropertyDescriptor(socket, name);
      const observer = this;
      const patched = function (...args) {
        return observer.active ? own(original, this, args) : original.apply(this, args);
      };
      Object.defineProperty(socket, name, {
        value: patched, writable: true, configurable: true, enumerable: false,
      });
      this.patches.push(() => {
        if (socket[name] !== patched) return;
        if (earlier) Object.defineProperty(socket, name, earlier);
        else delete socket[name];
      });
    }

    listen(event, work) {
      const listener = (...args) => void quietly(() => work(...args));
      this.socket.io.on(event, listener);
      this.listeners.push(() => this.socket.io.off(event, listener));
    }

    stop() {
      if (!this.active) return;
      this.active = false;
      for (const undo of [...this.patches, ...this.listeners]) quietly(undo);
      this.spans.end(this.attempt);
      this.attempt = null;
      if (this.socket[HANDLE] && this.socket[HANDLE].observer === this) delete this.socket[HANDLE];
    }

    // Connecting.

    /** Begin the step of a connection, if none is being made. */
    attempts(again) {
      if (this.attempt || this.socket.connected) return;
      // A reconnection is nobody's child: what was current at the first one is long over.
      const link = again ? this.last : undefined;
      const parent = this.spans.context(again);
      this.attempt = this.spans.begin("connect", undefined, CLIENT, undefined, parent, link);
      if (this.attempt.span) this.last = this.attempt.identity;
    }

    attempted(error, type) {
      this.spans.end(this.attempt, error, type);
      this.attempt = null;
    }

    connect(original, self, args) {
      quietly(() => this.attempts(false));
      return original.apply(self, args);
    }

    disconnect(original, self, args) {
      this.attempted(new Error("disconnected while connecting"), "AbortError");
      return original.apply(self, args);
    }

    onconnect(original, self, args) {
      this.attempted();
      return original.apply(self, args);
    }

    // Sending.

    emit(original, self, args) {
      const event = args[0];
      if (RESERVED.includes(event)) return original.apply(self, args);
      const queued = Boolean(self.flags && self.flags.fromQueue);
      let step = null;
      if (queued) step = this.steps.get(args[args.length - 1]) || this.sending;
      else {
        const parent = quietly(() => this.spans.context(false));
        step = quietly(() => this.spans.begin("send", event, PRODUCER, "send", parent));
        args = quietly(() => this.answered(event, args, step)) || args;
      }
      const { sending } = this;
      const waiting = [self.sendBuffer, self._queue].map((each) => [each, each ? each.length : 0]);
      this.sending = step || null;
      let failed;
      try {
        return original.apply(self, args);
      } catch (error) {
        failed = error;
        throw error;
      } finally {
        this.sending = sending;
        quietly(() => this.keep(waiting, step));
        if (!queued) this.spans.end(step, failed);
      }
    }

    /** Remember the step of an event that is not sent yet. */
    keep(waiting, step) {
      for (const [list, length] of waiting) {
        if (!step || !list || list.length <= length) continue;
        const packet = list[length];
        this.steps.set(packet.args ? packet.args[packet.args.length - 1] : packet, step);
      }
    }

    /** Return the arguments of an event with a callback that ends a step of its own. */
    answered(event, args, sent) {
      const callback = args[args.length - 1];
      if (typeof callback !== "function" || !sent || !sent.span) return args;
      const observer = this;
      const step = this.spans.begin("ack", event, CLIENT, "settle", sent.context);
      const answer = function (...answers) {
        // What comes from a server is JSON; an error is the client's own.
        const error = answers[0] instanceof Error ? answers[0] : undefined;
        observer.spans.end(step, error);
        return observer.spans.within(step, () => callback.apply(this, answers));
      };
      // socket.io-client marks callbacks that take an error first.
      return [...args.slice(0, -1), Object.assign(answer, callback)];
    }

    packet(original, self, args) {
      const packet = quietly(() => this.withCarrier(args[0])) || args[0];
      return original.apply(self, [packet, ...args.slice(1)]);
    }

    /** Return a packet that carries trace context; the application goes on seeing its own. */
    withCarrier(packet) {
      const { inject, auth } = this.options;
      if (packet.type === CONNECT) {
        this.attempts(true);
        const data = packet.data || {};
        // An application's own `traceparent` goes before.
        if (!auth || !isPlain(data) || "traceparent" in data || !this.attempt) return packet;
        this.tell("connect", this.attempt);
        return { ...packet, data: { ...data, ...carrierOf(this.attempt.identity) } };
      }
      const step = this.steps.get(packet) || this.sending;
      if (packet.type !== EVENT || !step || !Array.isArray(packet.data)) return packet;
      const [event] = packet.data;
      if (!(inject === true || (Array.isArray(inject) && inject.includes(event)))) return packet;
      this.tell(event, step);
      return { ...packet, data: [...packet.data, carrierOf(step.identity)] };
    }

    tell(event, step) {
      const { onTrace } = this.options;
      if (typeof onTrace !== "function") return;
      const { namespace } = this.spans;
      quietly(() => onTrace({ event: String(event), namespace, traceId: step.identity.traceId }));
    }

    // Receiving.

    onevent(original, self, args) {
      const packet = quietly(() => this.withoutCarrier(args[0])) || args[0];
      return original.apply(self, [packet, ...args.slice(1)]);
    }

    withoutCarrier(packet) {
      const { data } = packet;
      const found = Array.isArray(data) && data.length > 1 ? carried(data[data.length - 1]) : null;
      if (!found) return packet;
      const rest = data.slice(0, -1);
      this.senders.set(rest, found);
      return { ...packet, data: rest };
    }

    emitEvent(original, self, args) {
      const step = quietly(() => this.received(args[0]));
      let failed;
      try {
        return this.spans.within(step, () => original.apply(self, args));
      } catch (error) {
        failed = error === undefined ? null : error;
        throw error;
      } finally {
        this.spans.end(step, failed);
      }
    }

    received(data) {
      const { api } = this.spans;
      if (!api) return undefined;
      const found = this.senders.get(data);
      const remote = found && this.spans.remote(found);
      const believed = remote && this.options.trustServer;
      const root = api.ROOT_CONTEXT;
      const parent = believed ? api.trace.setSpanContext(root, remote) : root;
      const link = believed ? undefined : remote;
      return this.spans.begin("process", data[0], CONSUMER, "process", parent, link);
    }
  }

  /**
   * Trace what one socket sends and receives, and send its trace context along.
   *
   * Instrument the server before. A socket that is observed already stays as it is. Nothing here
   * ever throws, and what the application sends, hears and sees in `socket.auth` is its own.
   *
   * A listener's span lasts until it returns, or first awaits.
   *
   * @param {object} socket A socket of socket.io-client 3 or 4, connected or not. Nothing is
   *   missed of one that is observed as soon as `io()` has returned it.
   * @param {Options} [options] What differs from the defaults.
   * @returns {{stop: function(): void}} `stop` leaves the socket as it was.
   */
  function observe(socket, options) {
    const nothing = { stop() {} };
    const begin = () => {
      if (socket[HANDLE]) return socket[HANDLE];
      const { api, inject = true, auth = true, trustServer = true, onTrace } = options || {};
      const observer = new Observer(socket, { api, inject, auth, trustServer, onTrace });
      const handle = { stop: () => observer.stop() };
      Object.defineProperty(handle, "observer", { value: observer });
      Object.defineProperty(socket, HANDLE, { value: handle, configurable: true });
      try {
        observer.start();
      } catch (error) {
        observer.stop();
        throw error;
      }
      return handle;
    };
    return quietly(begin) || nothing;
  }

  const exported = { observe };
  root.socketioObserve = exported;
  if (typeof module === "object" && module.exports) module.exports = exported;
})(globalThis);
