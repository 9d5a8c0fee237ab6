// Workflow: everything with one correlation ID, a lane for each agent in time.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { clock, Data, Empty, Failure, hue, Time, Type, usePolled, workflowLink } from "./parts.js";

const LANE = 46;
const TOP = 30;
const LEFT = 150;
const STEP = 26;
const PAGE = 1000;

async function retained(params) {
  const found = [];
  let sinceCursor;
  for (;;) {
    const page = await get("/events", { ...params, order: "asc", limit: PAGE, since: sinceCursor });
    found.push(...page.events);
    if (!page.more_available) return found;
    sinceCursor = page.next_cursor;
  }
}

async function ask(id) {
  const [events, who] = await Promise.all([
    retained({ correlation_id: id, deliveries: "true" }),
    get("/agents"),
  ]);
  const waits = who.agents.flatMap((agent) =>
    agent.waiting
      .filter((wait) => wait.filter.includes(id) || !wait.filter.includes("correlation_id"))
      .map((wait) => ({ agent: agent.agent_id, ...wait })),
  );
  return { events, waits };
}

const receiver = (delivery) => (delivery.group ? `group ${delivery.group}` : delivery.agent);

function layout({ events, waits }, evenly, width) {
  const lanes = new Map();
  const lane = (name) => {
    if (!lanes.has(name)) lanes.set(name, lanes.size);
    return lanes.get(name);
  };
  const names = new Set(events.map((event) => event.publisher));
  events.forEach((event) => lane(event.publisher));
  events.forEach((event) => event.deliveries.forEach((delivery) => lane(receiver(delivery))));
  const shown = waits.filter((wait) => lanes.has(wait.agent) || names.has(wait.agent));
  const times = events.map((event) => +new Date(event.timestamp));
  const first = Math.min(...times);
  const last = shown.length ? Date.now() : Math.max(...times);
  const inner = Math.max(width - LEFT - 40, evenly ? events.length * STEP : 300);
  const scale = (at) => LEFT + 20 + (last > first ? ((at - first) / (last - first)) * inner : inner / 2);
  const marks = events.map((event, index) => ({
    event,
    x: evenly ? LEFT + 20 + (index * inner) / Math.max(1, events.length - 1) : scale(times[index]),
    y: TOP + lane(event.publisher) * LANE + LANE / 2,
  }));
  const arrows = marks.flatMap(({ event, x, y }) =>
    event.deliveries
      .filter((delivery) => receiver(delivery) !== event.publisher)
      .map((delivery) => ({
        key: `${event.cursor} ${delivery.subscription}`,
        x, y,
        to: TOP + lane(receiver(delivery)) * LANE + LANE / 2,
        state: delivery.leased_until ? "leased" : delivery.state,
      })),
  );
  const bars = evenly
    ? []
    : shown.map((wait) => ({
        wait,
        from: Math.max(LEFT + 4, scale(+new Date(wait.since))),
        to: scale(last),
        y: TOP + lane(wait.agent) * LANE + LANE / 2,
      }));
  return { lanes: [...lanes.keys()], marks, arrows, bars, first, last, width: LEFT + inner + 60, height: TOP + lanes.size * LANE + 26 };
}

function Chart({ data, evenly, chosen, choose }) {
  const box = useRef();
  const [width, setWidth] = useState(900);
  useEffect(() => {
    const watcher = new ResizeObserver(() => setWidth(box.current.clientWidth));
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);
  const drawn = useMemo(() => layout(data, evenly, width), [data, evenly, width]);
  const pick = (event) => (pressed) => {
    if (pressed.type === "click" || pressed.key === "Enter" || pressed.key === " ") {
      pressed.preventDefault();
      choose(event);
    }
  };
  return html`<div class="chart" ref=${box} tabindex="0" aria-label="Timeline; scrolls sideways">
    <svg width=${drawn.width} height=${drawn.height} role="group" aria-label="Events by agent in time">
      <defs>
        <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse">
          <path d="M0 0 L8 4 L0 8 z" class="tip" />
        </marker>
      </defs>
      ${drawn.lanes.map((name, index) => html`<g key=${name}>
        <line class="lane" x1=${LEFT} x2=${drawn.width} y1=${TOP + index * LANE + LANE / 2} y2=${TOP + index * LANE + LANE / 2} />
        <text class="lane-name" x="10" y=${TOP + index * LANE + LANE / 2 + 4}><title>${name}</title>${name.length > 18 ? `${name.slice(0, 17)}…` : name}</text>
      </g>`)}
      <text class="axis" x=${LEFT + 20} y="16">${clock(drawn.first)}</text>
      <text class="axis" x=${drawn.width - 40} y="16" text-anchor="end">${clock(drawn.last)}</text>
      ${drawn.bars.map(({ wait, from, to, y }) => html`<rect key=${`${wait.agent}${wait.since}${wait.types}`} class="waiting" x=${from} y=${y - 7} width=${Math.max(2, to - from)} height="14" rx="7">
        <title>${wait.agent} waits for ${wait.types.join(", ")}${wait.filter ? ` where ${wait.filter}` : ""}</title></rect>`)}
      ${drawn.arrows.map(({ key, x, y, to, state }) => html`<line key=${key} class=${`arrow ${state}`} x1=${x} x2=${x} y1=${y + (to > y ? 8 : -8)} y2=${to + (to > y ? -3 : 3)} marker-end="url(#tip)"><title>${state}</title></line>`)}
      ${drawn.marks.map(({ event, x, y }) => html`<circle key=${event.cursor}
        class=${`mark${chosen && chosen.cursor === event.cursor ? " chosen" : ""}${event.event_type === "delivery_failed" ? " dead" : ""}`}
        ref=${(mark) => mark && mark.style.setProperty("--hue", hue(event.event_type))}
        cx=${x} cy=${y} r="7" tabindex="0" role="button" aria-label=${`${event.event_type} by ${event.publisher} at ${clock(event.timestamp)}`}
        onClick=${pick(event)} onKeyDown=${pick(event)}><title>${event.event_type}\n${event.timestamp}</title></circle>`)}
    </svg>
  </div>`;
}

function Chosen({ event, close }) {
  const panel = useRef();
  useEffect(() => panel.current.focus(), [event.cursor]);
  return html`<aside class="chosen" tabindex="-1" ref=${panel} aria-label="The chosen event"
      onKeyDown=${(pressed) => pressed.key === "Escape" && close()}>
    <header><${Type} name=${event.event_type} /> <${Time} at=${event.timestamp} />
      <button class="plain" onClick=${close} aria-label="Close">✕</button></header>
    <p>by <b>${event.publisher}</b> on <b>${event.topic}</b>, <code>${event.event_id}</code></p>
    <${Data} value=${event.data} open=${true} />
    <h3>Deliveries</h3>
    ${event.deliveries.length
      ? html`<table><thead><tr><th>To</th><th>State</th></tr></thead><tbody>
          ${event.deliveries.map((each) => html`<tr key=${each.subscription}>
            <td>${receiver(each)}</td>
            <td><span class=${`badge ${each.leased_until ? "leased" : each.state}`}>${each.leased_until ? "leased" : each.state}</span>
              ${each.leased_until ? html` until <${Time} at=${each.leased_until} />` : null}</td></tr>`)}
        </tbody></table>`
      : html`<p class="faint">No durable subscription is for it: nobody listens, or those who do hold their position themselves.</p>`}
    <details class="data"><summary>Whole event</summary><pre>${JSON.stringify(event, null, 2)}</pre></details>
  </aside>`;
}

function Stuck({ events }) {
  const open = events.flatMap((event) => event.deliveries
    .filter((each) => each.state === "pending" || each.state === "delivered" || each.state === "dead")
    .map((each) => ({ event, each })));
  if (!open.length) return html`<p class="note good">Everything was delivered and acknowledged.</p>`;
  const count = (state) => open.filter(({ each }) => each.state === state).length;
  return html`<p class="note">
    <span class="badge pending">${count("pending")} pending</span>
    <span class="badge leased">${count("delivered")} in hand</span>
    <span class="badge dead">${count("dead")} dead</span>
  </p>`;
}

export function WorkflowPage({ id, onToken }) {
  const { data, error } = usePolled(() => ask(id), 2000, [id]);
  const [chosen, setChosen] = useState(null);
  const [evenly, setEvenly] = useState(false);
  if (!data) return html`<${Failure} error=${error} onToken=${onToken} />`;
  const current = chosen && data.events.find((event) => event.cursor === chosen.cursor);
  return html`<section aria-label="Workflow">
    <div class="bar"><h1 class="grow">${id}</h1>
      <label><input type="checkbox" checked=${evenly} onChange=${(change) => setEvenly(change.target.checked)} /> spread evenly</label>
      <span class="faint">${data.events.length} events</span></div>
    <${Failure} error=${error} onToken=${onToken} />
    ${data.events.length
      ? html`<${Stuck} events=${data.events} />
        <div class="split"><${Chart} data=${data} evenly=${evenly} chosen=${current} choose=${setChosen} />
        ${current ? html`<${Chosen} event=${current} close=${() => setChosen(null)} />` : null}</div>
        <details class="list"><summary>As a list</summary><table><thead><tr><th>Time</th><th>Type</th><th>By</th><th>To</th></tr></thead><tbody>
          ${data.events.map((event) => html`<tr key=${event.cursor}><td><${Time} at=${event.timestamp} /></td>
            <td><button class="plain" onClick=${() => setChosen(event)}>${event.event_type}</button></td><td>${event.publisher}</td>
            <td>${event.deliveries.map((each) => `${receiver(each)} (${each.state})`).join(", ")}</td></tr>`)}
        </tbody></table></details>`
      : html`<${Empty} title="No event has this correlation ID">None that is retained, in this project.<//>`}
  </section>`;
}

export function Workflows({ onToken }) {
  const [typed, setTyped] = useState("");
  const { data, error } = usePolled(() => get("/events", { limit: 1000, fields: "correlation_id,timestamp,publisher" }), 5000);
  const known = useMemo(() => {
    const found = new Map();
    for (const event of data ? data.events : []) {
      const id = event.correlation_id;
      if (!id) continue;
      const one = found.get(id) || { id, events: 0, last: event.timestamp, agents: new Set() };
      one.events += 1;
      one.agents.add(event.publisher);
      found.set(id, one);
    }
    return [...found.values()];
  }, [data]);
  return html`<section aria-label="Workflows">
    <form class="bar" onSubmit=${(sent) => { sent.preventDefault(); if (typed) location.hash = workflowLink(typed.trim()); }}>
      <label class="grow"><span class="visually-hidden">Correlation ID</span>
        <input placeholder="Correlation ID" value=${typed} onInput=${(change) => setTyped(change.target.value)} /></label>
      <button>Show</button></form>
    <${Failure} error=${error} onToken=${onToken} />
    ${data && !known.length ? html`<${Empty} title="No workflows yet">Events with a correlation ID appear here, each ID as a workflow.<//>` : null}
    <ul class="cards">${known.map((one) => html`<li key=${one.id}><a href=${workflowLink(one.id)}><b>${one.id}</b>
      <span>${one.events} events, ${one.agents.size} agents</span><span class="faint">last <${Time} at=${one.last} /></span></a></li>`)}</ul>
  </section>`;
}
