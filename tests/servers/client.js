// Lives the lives that it reads as JSON, one after the other, and prints what it saw as JSON.
// Usage: echo '[{"path": ..., "send": [...], ...}]' | node client.js ws://host:port
"use strict";
const WebSocket = require("ws");

const [base] = process.argv.slice(2);
const plan = require("fs").readFileSync(0, "utf8");

function payload(text) {
  return text.startsWith("b64:") ? Buffer.from(text.slice(4), "base64") : text;
}

function live(life) {
  return new Promise((resolve) => {
    const seen = { status: 101, received: [], code: 0 };
    const todo = [...life.send];
    const socket = new WebSocket(base + life.path, life.protocols);
    const next = () => {
      if (todo.length) return socket.send(payload(todo.shift()));
      if (life.end === "vanish") return socket.terminate();
      if (life.end === "reset") return socket._socket.resetAndDestroy();
      if (life.last) socket.send(life.last);
      if (life.end === "close") life.code ? socket.close(life.code) : socket.close();
    };
    socket.on("unexpected-response", (request, response) => {
      seen.status = response.statusCode;
      response.resume();
      resolve(seen);
    });
    socket.on("error", () => {});
    socket.on("open", next);
    socket.on("message", (data) => {
      seen.received.push(data.length);
      next();
    });
    socket.on("close", (code) => {
      seen.code = ["vanish", "reset"].includes(life.end) ? 0 : code;
      resolve(seen);
    });
  });
}

(async () => {
  const seen = [];
  for (const life of JSON.parse(plan)) seen.push(await live(life));
  process.stdout.write(JSON.stringify(seen));
  process.exit(0);
})();
