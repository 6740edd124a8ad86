// Reads the text of /metrics, and draws numbers.

import { $, make } from "./view.js";

export function* samples(text) {
  for (const line of text.split("\n")) {
    const found = /^(\w+)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!found || line.startsWith("#")) continue;
    const labels = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value;
    }
    yield { name: found[1], labels, value: Number(found[3]) };
  }
}

// As histogram_quantile does it: linear inside the bucket.
export function quantile(share, now, before) {
  const bounds = [...now.keys()].sort((a, b) => a - b);
  const grown = bounds.map((bound) => now.get(bound) - (before.get(bound) ?? 0));
  const total = grown.at(-1);
  if (!total) return null;
  const place = grown.findIndex((count) => count >= share * total);
  const [low, below] = place ? [bounds[place - 1], grown[place - 1]] : [0, 0];
  if (bounds[place] === Infinity) return low;
  return low + (bounds[place] - low) * ((share * total - below) / (grown[place] - below));
}

const NS = "http://www.w3.org/2000/svg";

export function spark(id, values) {
  const svg = $(id);
  const [width, height] = [100, 28];
  const most = Math.max(...values, 1e-9);
  // A young history takes the whole width soon.
  const step = width / (Math.max(values.length, 12) - 1);
  const points = values.map((value, place) => {
    const x = width - (values.length - 1 - place) * step;
    return `${x.toFixed(1)} ${(height - 2 - (value / most) * (height - 5)).toFixed(1)}`;
  });
  if (!svg.firstChild) {
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.append(document.createElementNS(NS, "path"), document.createElementNS(NS, "path"));
  }
  const start = width - (values.length - 1) * step;
  const [area, line] = svg.children;
  line.setAttribute("d", `M${points.join("L")}`);
  area.setAttribute("d", `M${start} ${height}L${points.join("L")}L${width} ${height}Z`);
}

export const whole = new Intl.NumberFormat();
export const rate = (value) => (value < 10 ? value.toFixed(1) : whole.format(Math.round(value)));

export function time(seconds) {
  if (seconds === null) return "–";
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  if (seconds > 0 && seconds < 1e-4) return `${Math.round(seconds * 1e6)} µs`;
  const thousandth = seconds * 1000;
  return `${thousandth < 10 ? thousandth.toFixed(1) : Math.round(thousandth)} ms`;
}

export function number(id, text, detail = "") {
  $(id).replaceChildren(text, ...(detail ? [make("small", "", detail)] : []));
}
