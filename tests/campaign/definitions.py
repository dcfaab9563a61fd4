"""The company of the campaign: short patience, so that timers fire between the faults."""

LIFECYCLE = """
lifecycle: club
version: 1
cyclic: true
rules:
  - {when: [survey_answered], where: {properties.score: {lte: 3}}, to: previous, reason: a bad survey}
  - {when: [complaint_made], to: angry}
stages:
  - name: reach
    stall: {after: 20s, then: [60s]}
    rules:
      - {when: [page_viewed], count: 3, within: 10m, to: next}
  - name: try
    stall: {after: 15s}
    lapse: {after: 45s, to: reach}
    rules:
      - all:
          - {when: [email_clicked], count: 2}
          - {when: [demo_booked]}
        to: buy
      - {when: [purchased], to: buy}
  - name: buy
    stall: {after: 25s}
    lapse: {after: 90s, to: first}
    rules:
      - {when: [page_viewed], count: 4, to: next}
off_path:
  - name: angry
    lapse: {after: 60s, to: reach}
    rules:
      - {when: [ticket_resolved], to: try}
"""
TYPES = (
    "page_viewed", "page_viewed", "page_viewed", "email_clicked", "demo_booked", "purchased", "survey_answered",
    "complaint_made", "ticket_resolved", "email_bounced",
)  # fmt: skip

PLAYS = {
    "call": """
play: call
when: {fact: customer-stalled, lifecycle: club, stage: [reach, buy], level: 1}
action: {channel: webhook, endpoint: desk, body: "Call {{ customer_id }}"}
exit: false
""",
    "thank": """
play: thank
when: {fact: stage-changed, lifecycle: club, move: [advance, renew]}
action: {channel: email, endpoint: mail, subject: "Welcome", body: "Dear {{ customer_id }}: {{ unsubscribe_url }}",
         headers: {X-Action-Id: "{{ action_id }}", X-Customer: "{{ customer_id }}"}}
exit: false
""",
}
KEY = "a-write-key-for-the-campaign"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
UNSUBSCRIBE_SECRET = "a-secret-of-the-campaign-0123456789"
SOURCES = "sources:\n  - {{name: shop, kind: api, key_sha256: {digest}}}\n"
ENDPOINTS = """
endpoints:
  - {{name: desk, url: "{url}", secret: {{env: DESK_SECRET}}, timeout_seconds: 5}}
  - name: mail
    type: email
    from: Club <club@example.com>
    smtp: {{host: 127.0.0.1, port: {smtp}, tls: none, timeout_seconds: 5}}
"""
