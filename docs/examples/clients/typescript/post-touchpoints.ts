// Post touchpoints, and post them again until they are accepted. Needs Node 22.18 or later, and no package.
//
//     TOUCHLINE_INGEST_URL=http://127.0.0.1:8080 WRITE_KEY=… node post-touchpoints.ts < touchpoints.ndjson
//
// Posting again is safe: the Idempotency-Key gives items without an id the same id each time, and an id counts once.

import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

type Touchpoint = Record<string, unknown>;
type Result = { index: number; id: string | null; status: "accepted" | "rejected"; error?: string };

const BATCH = 500;
const RETRIED = new Set([408, 429, 500, 502, 503, 504]);

/** Post one batch; the result of each item. Throws when the request is wrong, or not accepted after all attempts. */
export async function post(url: string, key: string, touchpoints: Touchpoint[], attempts = 20): Promise<Result[]> {
  const headers = {
    authorization: `Bearer ${key}`,
    "content-type": "application/json",
    "idempotency-key": randomUUID(), // one key for all attempts
  };
  let why = "";
  for (let attempt = 0; attempt < attempts; attempt++) {
    let wait = (0.5 + Math.random() / 2) * Math.min(60_000, 200 * 2 ** attempt);
    try {
      const answer = await fetch(`${url}/v1/touchpoints`, {
        method: "POST",
        headers,
        body: JSON.stringify(touchpoints),
        signal: AbortSignal.timeout(30_000),
      });
      if (answer.ok) return ((await answer.json()) as { results: Result[] }).results;
      why = `${answer.status} ${await answer.text()}`;
      if (!RETRIED.has(answer.status)) throw new RangeError(why); // don't repeat it
      wait = Math.max(wait, 1000 * Number(answer.headers.get("retry-after") ?? 0));
    } catch (error) {
      if (error instanceof RangeError) throw error;
      why = String(error); // perhaps it was accepted and only the answer was lost
    }
    await sleep(wait);
  }
  throw new Error(`not accepted after ${attempts} attempts: ${why}`);
}

const url = process.env.TOUCHLINE_INGEST_URL!;
const key = process.env.WRITE_KEY!;
let batch: Touchpoint[] = [];

async function flush(): Promise<void> {
  if (batch.length === 0) return;
  for (const result of await post(url, key, batch)) console.log(JSON.stringify(result));
  batch = [];
}

for await (const line of createInterface({ input: process.stdin })) {
  batch.push(JSON.parse(line));
  if (batch.length === BATCH) await flush();
}
await flush();
