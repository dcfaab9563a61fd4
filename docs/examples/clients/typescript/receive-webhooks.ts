// Receive the notifier's webhooks and verify their signatures (Standard Webhooks). Needs Node 22.18 or later.
//
//     WEBHOOK_SECRET=whsec_… node receive-webhooks.ts 9000

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingHttpHeaders } from "node:http";

const SECRET = Buffer.from(process.env.WEBHOOK_SECRET!.replace(/^whsec_/, ""), "base64");
const TOLERANCE = 5 * 60; // seconds
const LARGEST = 1 << 20; // bytes

/** Whether a request comes from the notifier: a signature that fits, and a time within five minutes. */
export function genuine(headers: IncomingHttpHeaders, body: Buffer, secret: Buffer, now = Date.now() / 1000): boolean {
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"];
  const signatures = headers["webhook-signature"];
  if (typeof id !== "string" || typeof timestamp !== "string" || typeof signatures !== "string") return false;
  if (!/^\d+$/.test(timestamp) || Math.abs(now - Number(timestamp)) > TOLERANCE) return false;
  const expected = createHmac("sha256", secret).update(`${id}.${timestamp}.`).update(body).digest();
  return signatures.split(" ").some((one) => {
    const [version, text] = one.split(",", 2);
    const given = Buffer.from(text ?? "", "base64");
    return version === "v1" && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

const seen = new Set<string>(); // in your system: a table with a unique key

createServer((request, response) => {
  const parts: Buffer[] = [];
  let length = 0;
  request.on("data", (part: Buffer) => {
    length += part.length;
    if (length > LARGEST) request.destroy();
    else parts.push(part);
  });
  request.on("end", () => {
    const body = Buffer.concat(parts);
    if (!genuine(request.headers, body, SECRET)) {
      response.writeHead(401).end();
      return;
    }
    const id = request.headers["webhook-id"] as string;
    if (!seen.has(id)) {
      seen.add(id); // a delivery may arrive twice, with the same id
      const { type, data } = JSON.parse(body.toString("utf8"));
      console.log(JSON.stringify({ type, data }));
    }
    response.writeHead(204).end(); // only after it was stored: 2xx means that it is not sent again
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
