// What several pages show in one way.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { Problem } from "./api.js";

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

export function clock(text) {
  const moment = new Date(text);
  const today = moment.toDateString() === new Date().toDateString();
  return today ? CLOCK.format(moment) : `${DAY.format(moment)} ${CLOCK.format(moment)}`;
}

export const Time = ({ at }) =>
  at ? html`<time datetime=${at} title=${at}>${clock(at)}</time>` : html`<span class="faint">–</span>`;

export function since(text, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - new Date(text)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export function hue(name) {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return sum;
}

export const Type = ({ name }) => {
  const chip = useRef();
  useEffect(() => chip.current.style.setProperty("--hue", hue(name)), [name]);
  return html`<span class="type" ref=${chip}>${name}</span>`;
};

export const workflowLink = (id) => `#/workflow/${encodeURIComponent(id)}`;

export const Workflow = ({ id }) =>
  id ? html`<a class="workflow" href=${workflowLink(id)} title="Show this workflow">${id}</a>` : null;

export function Data({ value, open = false }) {
  const text = JSON.stringify(value);
  if (text === "{}") return html`<span class="faint">no data</span>`;
  return html`<details class="data" open=${open}>
    <summary>${text.length > 160 ? `${text.slice(0, 160)}…` : text}</summary>
    <pre>${JSON.stringify(value, null, 2)}</pre>
  </details>`;
}

export const Hints = ({ hints }) =>
  hints && hints.length
    ? html`<ul class="hints">
        ${hints.map((hint) => html`<li key=${hint.message}><b>${hint.about.replace("_", " ")}</b> ${hint.message}</li>`)}
      </ul>`
    : null;

export const Empty = ({ title, children }) =>
  html`<div class="empty"><h2>${title}</h2><p>${children}</p></div>`;

export const Failure = ({ error, onToken }) => {
  if (!error) return null;
  const expired = error.status === 401;
  return html`<div class="failure" role="alert">
    ${expired ? "The token is no longer good: " : ""}${error.message}
    ${expired && onToken ? html` <button onClick=${() => onToken(null)}>Use another token</button>` : null}
  </div>`;
};

// Asks again every so often, at once when what is asked for changes; keeps what it has meanwhile.
export function usePolled(ask, every, changes = []) {
  const [state, setState] = useState({ data: null, error: null, at: null });
  useEffect(() => {
    let over = false;
    let timer;
    const look = async () => {
      try {
        const data = await ask();
        if (!over) setState({ data, error: null, at: new Date().toISOString() });
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        if (!over) setState((old) => ({ ...old, error }));
      }
      if (!over) timer = setTimeout(look, every);
    };
    look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, changes);
  return state;
}
