// The bridge's API as this page uses it. The token stays in this tab.

const KEY = "bridge-token";
const API = new URL("../api", document.baseURI).pathname;
const ROOT = new URL("..", document.baseURI).pathname;

export class Problem extends Error {
  constructor(status, told) {
    super(told.message || `the bridge answered ${status}`);
    this.status = status;
    this.code = told.code;
    this.details = told.details || {};
  }
}

export function takeTokenFromAddress() {
  const found = /^#token=([^&]+)(?:&to=(.*))?$/.exec(location.hash);
  if (!found) return;
  setToken(decodeURIComponent(found[1]));
  history.replaceState(null, "", `#${decodeURIComponent(found[2] || "/live")}`);
}

export const getToken = () => sessionStorage.getItem(KEY);

export function setToken(token) {
  if (token) sessionStorage.setItem(KEY, token.trim());
  else sessionStorage.removeItem(KEY);
}

export function claims() {
  try {
    const part = getToken().split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return {};
  }
}

export const maySpawn = () => (claims().permissions || []).includes("spawn_agents");

function address(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return (path === "/status" ? `${ROOT}status` : `${API}${path}`) + (text ? `?${text}` : "");
}

async function ask(path, params, options = {}) {
  const headers = { Authorization: `Bearer ${getToken()}`, ...options.headers };
  let answer;
  try {
    answer = await fetch(address(path, params), { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { message: "the bridge cannot be reached; trying again" });
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Problem(answer.status, told);
  }
  return answer;
}

export async function get(path, params, options) {
  return (await ask(path, params, options)).json();
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, {}, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

// Server-Sent Events over fetch, which can carry the token: yields {event, id, data}.
export async function* stream(path, params, signal) {
  const answer = await ask(path, params, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let item = {};
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line) {
        const colon = line.indexOf(": ");
        item[line.slice(0, colon)] = line.slice(colon + 2);
      } else {
        if (item.data) yield { event: item.event || "message", id: item.id, data: JSON.parse(item.data) };
        item = {};
      }
    }
  }
}
