"""Real Kafka and real PostgreSQL for a machine that has neither.

stack.py       Stack: up, down, and the single servers' stop, start and kill for fault tests
cli.py         touchline-devstack up | down | status | env
processes.py   Service: one of the services' command lines as a subprocess, waited for until it is ready
choice.py      which Kafka and which PostgreSQL: the given ones, Docker's, or the embedded ones
embedded/      the embedded servers: their jars, command lines, pids, ports and state
"""
