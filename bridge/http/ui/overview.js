// Overview: how much comes, how full the stream is, how fast the bridge answers.

import { html, useMemo } from "./vendor/htm-preact.js";
import { get } from "./api.js";
import { clock, Empty, Failure, hue, since, usePolled } from "./parts.js";

const MINUTES = 60;
const PAGE = 1000;
const HEIGHT = 160;

async function ask() {
  const [status, events] = await Promise.all([get("/status"), lastHour()]);
  return { status, events };
}

async function lastHour() {
  const from = new Date(Date.now() - MINUTES * 60000).toISOString();
  const found = [];
  let until;
  for (let page = 0; page < 10; page += 1) {
    const told = await get("/events", { since: from, until, limit: PAGE, fields: "timestamp" });
    found.push(...told.events);
    if (!told.more_available) break;
    until = told.next_cursor;
  }
  return found;
}

function Rates({ events }) {
  const drawn = useMemo(() => {
    const now = Date.now();
    const minutes = Array.from({ length: MINUTES }, () => new Map());
    const totals = new Map();
    for (const event of events) {
      const minute = MINUTES - 1 - Math.floor((now - new Date(event.timestamp)) / 60000);
      if (minute < 0 || minute >= MINUTES) continue;
      minutes[minute].set(event.event_type, (minutes[minute].get(event.event_type) || 0) + 1);
      totals.set(event.event_type, (totals.get(event.event_type) || 0) + 1);
    }
    const most = Math.max(1, ...minutes.map((each) => [...each.values()].reduce((sum, count) => sum + count, 0)));
    return { now, minutes, totals: [...totals].sort((one, other) => other[1] - one[1]), most };
  }, [events]);
  const bars = drawn.minutes.flatMap((types, minute) => {
    let height = 0;
    return [...types].map(([name, count]) => {
      height += (count / drawn.most) * HEIGHT;
      return html`<rect key=${`${minute}${name}`} class="rate" x=${minute * 10 + 1} width="8" y=${HEIGHT - height} height=${(count / drawn.most) * HEIGHT}
        ref=${(bar) => bar && bar.style.setProperty("--hue", hue(name))}><title>${count} × ${name}, ${since(new Date(drawn.now - (MINUTES - minute) * 60000))} ago</title></rect>`;
    });
  });
  return html`<figure><svg class="rates" viewBox=${`0 0 ${MINUTES * 10} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${`Events by minute in the last hour, at most ${drawn.most}`}>${bars}</svg>
    <figcaption><span>${clock(drawn.now - MINUTES * 60000)}</span><span>at most ${drawn.most} a minute</span><span>now</span></figcaption>
    <ul class="legend">${drawn.totals.slice(0, 12).map(([name, count]) => html`<li key=${name}><span class="swatch" ref=${(swatch) => swatch && swatch.style.setProperty("--hue", hue(name))}></span>${name} <b>${count}</b></li>`)}</ul></figure>`;
}

const Card = ({ title, value, children }) => html`<div class="card"><h2>${title}</h2><p class="value">${value}</p><p class="faint">${children}</p></div>`;

const ms = (value) => (value === undefined ? "–" : value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`);

export function Overview({ onToken }) {
  const { data, error } = usePolled(ask, 5000);
  if (!data) return html`<${Failure} error=${error} onToken=${onToken} />`;
  const { status, events } = data;
  const { depth, capacity } = status.queue;
  const publish = status.latencies.publish;
  const failed = Object.values(status.requests || {}).reduce((sum, one) => sum + one.failed, 0);
  const answered = Object.values(status.requests || {}).reduce((sum, one) => sum + one.requests, 0);
  return html`<section aria-label="Overview">
    <${Failure} error=${error} onToken=${onToken} />
    <div class="cardrow">
      <${Card} title="Retained" value=${depth.toLocaleString()}>${capacity > 0 ? html`of ${capacity.toLocaleString()} that the stream holds <meter min="0" max=${capacity} high=${capacity * 0.9} value=${depth}></meter>` : "without a limit"}<//>
      <${Card} title="Oldest event" value=${status.events.oldest ? since(status.events.oldest) : "–"}>newest ${status.events.newest ? `${since(status.events.newest)} ago` : "–"}<//>
      <${Card} title="Publish" value=${ms(publish && publish.p50_ms)}>p99 ${ms(publish && publish.p99_ms)}, this bridge<//>
      <${Card} title="Errors" value=${failed.toLocaleString()}>of ${answered.toLocaleString()} answers of this bridge<//>
      <${Card} title="Agents" value=${status.agents.total.toLocaleString()}>${status.subscriptions.toLocaleString()} subscriptions<//>
    </div>
    <h1>Events by minute</h1>
    ${events.length ? html`<${Rates} events=${events} />` : html`<${Empty} title="A quiet hour">No event was published in the last hour.<//>`}
  </section>`;
}
