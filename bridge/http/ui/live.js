// Live: events as they come.

import { html, useCallback, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { get, Problem, stream } from "./api.js";
import { Data, Empty, Failure, Hints, Time, Type, Workflow } from "./parts.js";

const MOST = 500;
const BEGIN_WITH = 50;
const PAUSES = [500, 1000, 2000, 5000];

function Row({ event }) {
  return html`<li class="event">
    <span class="when"><${Time} at=${event.timestamp} /></span>
    <span class="what"><${Type} name=${event.event_type} /> <span class="topic">${event.topic}</span></span>
    <span class="who" title=${event.agent_type || ""}>${event.publisher}</span>
    <span class="ties"><${Workflow} id=${event.correlation_id} /></span>
    <span class="content"><${Data} value=${event.data} /></span>
  </li>`;
}

function FilterProblem({ text, error }) {
  const column = error.details.column;
  return html`<div class="failure" role="alert" id="filter-problem">
    ${column ? html`<pre class="caret">${text}\n${" ".repeat(Math.max(0, column - 1))}^</pre>` : null}${error.message}
  </div>`;
}

export function Live({ onToken }) {
  const [wanted, setWanted] = useState("");
  const [filter, setFilter] = useState("");
  const [events, setEvents] = useState(null);
  const [held, setHeld] = useState([]);
  const [paused, setPaused] = useState(false);
  const [state, setState] = useState("connecting");
  const [error, setError] = useState(null);
  const [gap, setGap] = useState(null);
  const [hints, setHints] = useState(null);
  const pausing = useRef(false);
  pausing.current = paused;

  useEffect(() => {
    const timer = setTimeout(() => setFilter(wanted.trim()), 300);
    return () => clearTimeout(timer);
  }, [wanted]);

  useEffect(() => {
    const ending = new AbortController();
    let tries = 0;
    let cursor = null;

    const add = (event) => {
      const put = (old) => [event, ...(old || [])].slice(0, MOST);
      if (pausing.current) setHeld(put);
      else setEvents(put);
      setHints(null);
    };

    const read = async () => {
      setState("connecting");
      setEvents(null);
      setHeld([]);
      setError(null);
      setGap(null);
      setHints(null);
      while (!ending.signal.aborted) {
        try {
          if (cursor === null) {
            const page = await get("/events", { limit: BEGIN_WITH, filter }, { signal: ending.signal });
            setEvents(page.events);
            cursor = page.events.length ? page.events[0].cursor : "now";
            if (!page.events.length) {
              const told = await get("/events/explain/*", { filter }, { signal: ending.signal });
              setHints(told.hints);
            }
          }
          for await (const item of stream("/events/stream/*", { filter, since: cursor }, ending.signal)) {
            cursor = item.id || cursor;
            tries = 0;
            setState("live");
            setError(null);
            if (item.event === "gap") setGap(item.data);
            if (item.event === "message") add(item.data);
          }
        } catch (failed) {
          if (ending.signal.aborted) return;
          if (failed instanceof Problem && failed.status >= 400 && failed.status < 500) {
            setError(failed);
            setState("stopped");
            return;
          }
        }
        if (ending.signal.aborted) return;
        setState("reconnecting");
        await new Promise((go) => setTimeout(go, PAUSES[Math.min(tries++, PAUSES.length - 1)]));
      }
    };
    read();
    return () => ending.abort();
  }, [filter]);

  const go = useCallback(() => {
    setEvents((old) => [...held, ...(old || [])].slice(0, MOST));
    setHeld([]);
    setPaused(false);
  }, [held]);

  const badFilter = error && error.code === "EVT_003";
  const words = {
    connecting: "connecting …",
    live: paused ? `paused, ${held.length} waiting` : "live",
    reconnecting: "connection lost, going on where it broke off …",
    stopped: "stopped",
  };
  return html`<section aria-label="Live events">
    <div class="bar">
      <label class="grow">
        <span class="visually-hidden">Filter</span>
        <input type="search" spellcheck="false" autocomplete="off"
          placeholder="Filter: event_type:tests_*,coverage:>90,!publisher:bot"
          value=${wanted} onInput=${(change) => setWanted(change.target.value)}
          aria-invalid=${badFilter ? "true" : "false"} aria-describedby="filter-problem" />
      </label>
      <button onClick=${paused ? go : () => setPaused(true)} aria-pressed=${paused}>
        ${paused ? "Go on" : "Pause"}
      </button>
      <span class=${`state ${state}`} role="status">${words[state]}</span>
    </div>
    ${badFilter ? html`<${FilterProblem} text=${filter} error=${error} />` : html`<${Failure} error=${error} onToken=${onToken} />`}
    ${gap ? html`<p class="note">${gap.lost === null ? "Some" : gap.lost} events are no longer retained (${gap.reason}); reading goes on.</p>` : null}
    ${events && !events.length && !error
      ? html`<${Empty} title=${filter ? "Nothing passes this filter yet" : "No events yet"}>
          ${filter ? "What comes and passes appears here." : "Publish one, and it appears here."}
        <//><${Hints} hints=${hints} />`
      : null}
    <ol class="events" aria-live=${paused ? "off" : "polite"} aria-relevant="additions">
      ${(events || []).map((event) => html`<${Row} key=${event.cursor} event=${event} />`)}
    </ol>
  </section>`;
}
