// Agents and subscriptions: who waits for what, who is behind, what is dead.

import { html, useState } from "./vendor/htm-preact.js";
import { claims, get, maySpawn, post, Problem } from "./api.js";
import { Empty, Failure, since, Time, Type, usePolled, Workflow } from "./parts.js";

async function ask() {
  const [who, listed, failures] = await Promise.all([
    get("/agents"),
    get("/subscriptions"),
    get("/events", { type: "delivery_failed", limit: 100 }),
  ]);
  return { ...who, subscriptions: listed.subscriptions, failures: failures.events };
}

const what = (one) => [one.types.join(", "), one.topics[0] === "*" ? "" : `on ${one.topics.join(", ")}`, one.filter ? `where ${one.filter}` : ""].filter(Boolean).join(" ");

function Agents({ agents }) {
  if (!agents.length) return html`<${Empty} title="Nobody is here">No agent was heard of in the last hour, and none has a subscription.<//>`;
  return html`<div class="scroll"><table>
    <thead><tr><th>Agent</th><th>Type</th><th>Waits now for</th><th class="number">Behind</th><th class="number">In hand</th><th>Last seen</th></tr></thead>
    <tbody>${agents.map((agent) => html`<tr key=${agent.agent_id}>
      <td><b>${agent.agent_id}</b></td><td>${agent.agent_type || html`<span class="faint">–</span>`}</td>
      <td>${agent.waiting.length
        ? agent.waiting.map((wait) => html`<div key=${wait.since}><span class="dot" aria-hidden="true"></span>${what(wait)} <span class="faint">for ${since(wait.since)}</span></div>`)
        : html`<span class="faint">nothing</span>`}</td>
      <td class=${`number${agent.pending ? " behind" : ""}`}>${agent.pending}</td><td class="number">${agent.leased}</td>
      <td><${Time} at=${agent.last_seen} /></td></tr>`)}</tbody></table></div>`;
}

function Subscriptions({ subscriptions }) {
  if (!subscriptions.length) return html`<p class="faint">None${maySpawn() ? "" : " of your own; a token with spawn_agents shows the whole project’s"}.</p>`;
  const sorted = [...subscriptions].sort((one, other) => (other.pending || 0) - (one.pending || 0));
  return html`<div class="scroll"><table>
    <thead><tr><th>Subscribed</th><th>To</th><th class="number">Behind</th><th class="number">In hand</th><th class="number">Again</th><th class="number">Dead</th><th class="number">Waiting</th><th>Last delivery</th></tr></thead>
    <tbody>${sorted.map((one) => html`<tr key=${one.name}>
      <td title=${one.name}><b>${one.group ? `group ${one.group}` : one.agent}</b></td><td>${what(one)}</td>
      <td class=${`number${one.pending ? " behind" : ""}`}>${one.pending ?? "?"}</td><td class="number">${one.ack_pending ?? "?"}</td>
      <td class="number">${one.redelivered ?? "?"}</td><td class=${`number${one.dead ? " dead" : ""}`}>${one.dead}</td>
      <td class="number">${one.waiting ?? "?"}</td><td><${Time} at=${one.last_delivery} /></td></tr>`)}</tbody></table></div>`;
}

function Dead({ failure, mine }) {
  const [told, setTold] = useState(null);
  const data = failure.data;
  const redrive = async () => {
    try {
      const { done, failed } = await post(`/subscriptions/${encodeURIComponent(data.subscription)}/redrive`, { event_ids: [data.event_id] });
      setTold(done.length ? "delivered once more" : failed[0].message);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setTold(error.message);
    }
  };
  return html`<li class="dead-letter"><${Time} at=${failure.timestamp} /> <${Type} name=${data.event_type || "?"} />
    <span>for <b>${data.group ? `group ${data.group}` : data.agent}</b> after ${data.deliveries} deliveries: ${data.reason}</span>
    <${Workflow} id=${failure.correlation_id} />
    ${mine ? html`<button onClick=${redrive} disabled=${told !== null}>Deliver once more</button>` : null}
    ${told ? html`<span role="status">${told}</span>` : null}</li>`;
}

export function AgentsPage({ onToken }) {
  const { data, error } = usePolled(ask, 3000);
  if (!data) return html`<${Failure} error=${error} onToken=${onToken} />`;
  const mine = (failure) => maySpawn() || failure.data.agent === claims().sub;
  return html`<section aria-label="Agents and subscriptions">
    <${Failure} error=${error} onToken=${onToken} />
    <h1>Agents <span class="faint">as ${data.bridges} ${data.bridges === 1 ? "bridge knows" : "bridges know"} them</span></h1>
    <${Agents} agents=${data.agents} />
    <h1>Dead letters</h1>
    ${data.failures.length
      ? html`<ul class="plain-list">${data.failures.map((failure) => html`<${Dead} key=${failure.cursor} failure=${failure} mine=${mine(failure)} />`)}</ul>`
      : html`<p class="faint">None: nothing was rejected, and nothing tried in vain.</p>`}
    <h1>Subscriptions</h1>
    <${Subscriptions} subscriptions=${data.subscriptions} />
  </section>`;
}
