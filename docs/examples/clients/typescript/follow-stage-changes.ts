// Follow moves, stalls and recoveries as server-sent events, over interruptions. Needs Node 22.18 or later.
//
//     TOUCHLINE_ENGINE_URL=http://127.0.0.1:8081 TOKEN=… node follow-stage-changes.ts [beginning]
//
// Prints a line of JSON for each event. After an interruption it continues after the last event: none is missed.

import { setTimeout as sleep } from "node:timers/promises";

type Event = { id: string; type: string; data: unknown };

/** Events without an end. Keep the last event's id in your system to resume after a restart. */
export async function* events(url: string, token: string, since?: string): AsyncGenerator<Event> {
  let lastId = "";
  while (true) {
    const headers: Record<string, string> = { authorization: `Bearer ${token}` };
    if (lastId) headers["last-event-id"] = lastId;
    const query = since && !lastId ? `?since=${since}` : "";
    try {
      const answer = await fetch(`${url}/v1/stage-changes/stream${query}`, { headers });
      if (!answer.ok && answer.status !== 429 && answer.status !== 503) {
        throw new RangeError(`${answer.status} ${await answer.text()}`);
      }
      if (answer.ok && answer.body) {
        for await (const event of parsed(answer.body.pipeThrough(new TextDecoderStream()))) {
          if (event.type === "error") break;
          yield event;
          lastId = event.id || lastId;
        }
      }
    } catch (error) {
      if (error instanceof RangeError) throw error;
    }
    await sleep(1000);
  }
}

async function* parsed(text: AsyncIterable<string>): AsyncGenerator<Event> {
  let rest = "";
  for await (const part of text) {
    rest += part;
    const blocks = rest.split("\n\n");
    rest = blocks.pop()!;
    for (const block of blocks) {
      const fields = new Map<string, string>();
      for (const line of block.split("\n")) {
        const colon = line.indexOf(": ");
        if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 2));
      }
      const data = fields.get("data");
      if (data !== undefined) {
        yield { id: fields.get("id") ?? "", type: fields.get("event") ?? "message", data: JSON.parse(data) };
      }
    }
  }
}

const token = process.env.TOKEN ?? "";
for await (const { type, data } of events(process.env.TOUCHLINE_ENGINE_URL!, token, process.argv[2])) {
  console.log(JSON.stringify({ type, data }));
}
