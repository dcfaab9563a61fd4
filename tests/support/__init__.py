"""Shared by the tests: servers, waiting, clients of the services, deployments."""
