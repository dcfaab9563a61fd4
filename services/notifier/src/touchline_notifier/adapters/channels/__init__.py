"""The ways out: webhook, email, Slack, and what other packages add."""
