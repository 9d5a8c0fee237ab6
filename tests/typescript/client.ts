// An agent in TypeScript, on what openapi-typescript and openapi-fetch make of /openapi.json.

import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Event = components["schemas"]["EventOut"];

const baseUrl = process.env.BRIDGE_URL!;
const headers = { Authorization: `Bearer ${process.env.JWT_TOKEN}` };
const client = createClient<paths>({ baseUrl, headers });

function check(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

// Publish, and what is wrong is told.
const published = await client.POST("/api/events/{event_type}", {
  params: { path: { event_type: "task_assigned" } },
  body: { data: { task: "login" }, correlation_id: "job-1" },
});
check(published.data, "not published");
const refused = await client.GET("/api/events/wait/{event_types}", {
  params: { path: { event_types: "task_assigned" }, query: { filter: "a=b" } },
});
check(refused.error?.code === "EVT_003", "a wrong filter is told");

// Wait with a lease, and acknowledge with the next wait.
const path = { event_types: "task_assigned" };
const leased = await client.GET("/api/events/wait/{event_types}", {
  params: { path, query: { timeout: 10000, ack: "explicit", lease: 30000 } },
});
const events: Event[] = leased.data?.events ?? [];
check(events.length === 1 && events[0]!.correlation_id === "job-1", "one event is leased");
const next = await client.GET("/api/events/wait/{event_types}", {
  params: { path, query: { timeout: 0, ack: "explicit", done: leased.data!.ack_id! } },
});
check(next.data?.events.length === 0, "nothing is left");
check(next.data.hints?.[0]?.about === "delivered", "and it is said why");

// Read the stream from its beginning.
const stream = await client.GET("/api/events/stream/{event_types}", {
  params: { path, query: { since: "earliest" } },
  parseAs: "stream",
});
let text = "";
for await (const chunk of stream.data as unknown as AsyncIterable<Uint8Array>) {
  text += new TextDecoder().decode(chunk);
  if (text.includes('"login"')) break;
}

console.log(JSON.stringify({ event_id: published.data.event_id, streamed: text.includes("id: c") }));
process.exit(0);
