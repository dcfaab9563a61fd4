"""Receive the notifier's webhooks and verify their signatures. Needs standardwebhooks.

WEBHOOK_SECRET=whsec_… python receive_webhooks.py 9000
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

SECRET = Webhook(os.environ["WEBHOOK_SECRET"])
LARGEST = 1 << 20  # bytes
seen: set[str] = set()  # in your system: a table with a unique key


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("content-length", "0")), LARGEST))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            event = SECRET.verify(body, headers)  # the signature, and a time within five minutes
        except (WebhookVerificationError, ValueError):
            self.answer(401)
            return
        if headers["webhook-id"] not in seen:  # a delivery may arrive twice, with the same id
            seen.add(headers["webhook-id"])
            print(json.dumps({"type": event["type"], "data": event["data"]}), flush=True)
        self.answer(204)  # only after it was stored: 2xx means that it is not sent again

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """No line for each request."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
