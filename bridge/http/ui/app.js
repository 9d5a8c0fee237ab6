// The web view: which page, whose token.

import { html, render, useEffect, useState } from "./vendor/htm-preact.js";
import { claims, getToken, setToken, takeTokenFromAddress } from "./api.js";
import { AgentsPage } from "./agents.js";
import { Live } from "./live.js";
import { Overview } from "./overview.js";
import { WorkflowPage, Workflows } from "./workflow.js";

const PAGES = [["/live", "Live"], ["/workflows", "Workflows"], ["/agents", "Agents"], ["/overview", "Overview"]];

function Welcome({ onToken }) {
  const [typed, setTyped] = useState("");
  return html`<main class="welcome"><h1>Event bridge</h1>
    <p>Paste a token, or run <code>bridge ui</code> on the bridge’s machine, which opens this page with one. It stays in this tab.</p>
    <form onSubmit=${(sent) => { sent.preventDefault(); if (typed.trim()) onToken(typed); }}>
      <label for="token">Token</label>
      <input id="token" type="password" autocomplete="off" spellcheck="false" value=${typed} onInput=${(change) => setTyped(change.target.value)} />
      <button>Look</button></form></main>`;
}

function Page({ place, onToken }) {
  if (place.startsWith("/workflow/")) return html`<${WorkflowPage} key=${place} id=${decodeURIComponent(place.slice(10))} onToken=${onToken} />`;
  if (place === "/workflows") return html`<${Workflows} onToken=${onToken} />`;
  if (place === "/agents") return html`<${AgentsPage} onToken=${onToken} />`;
  if (place === "/overview") return html`<${Overview} onToken=${onToken} />`;
  return html`<${Live} onToken=${onToken} />`;
}

function App() {
  const [token, show] = useState(getToken());
  const [place, setPlace] = useState(location.hash.slice(1) || "/live");
  useEffect(() => {
    const move = () => {
      takeTokenFromAddress();
      show(getToken());
      setPlace(location.hash.slice(1) || "/live");
    };
    addEventListener("hashchange", move);
    return () => removeEventListener("hashchange", move);
  }, []);
  const onToken = (given) => {
    setToken(given);
    show(getToken());
  };
  if (!token) return html`<${Welcome} onToken=${onToken} />`;
  const { sub, project_id: project } = claims();
  return html`<header class="top"><a class="brand" href="#/live"><img src="icon.svg" alt="" width="24" height="24" />Event bridge</a>
    <nav aria-label="Pages">${PAGES.map(([where, name]) => html`<a key=${where} href=${`#${where}`}
      aria-current=${place === where || (where === "/workflows" && place.startsWith("/workflow/")) ? "page" : null}>${name}</a>`)}</nav>
    <span class="identity" title="Whose token this is"><b>${project || "default"}</b> as ${sub || "?"}</span>
    <button class="plain" onClick=${() => onToken(null)}>Leave</button></header>
    <main key=${token}><${Page} place=${place} onToken=${onToken} /></main>`;
}

takeTokenFromAddress();
render(html`<${App} />`, document.getElementById("app"));
