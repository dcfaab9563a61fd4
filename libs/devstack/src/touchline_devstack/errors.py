"""What can go wrong with the stack, each with what to do about it.

DevstackError
├── DownloadError       Kafka's jars are neither cached nor to be had
├── NoJavaError         no Java that can run Kafka
├── ServerError         a server did not start, did not answer or did not stop
├── UnreachableError    an address that was given to us does not answer
├── FolderBusyError     another `up` or `down` on the same folder holds the lock for too long
└── ServiceError        a service under test or in the demo died or never became ready
"""

from __future__ import annotations


class DevstackError(Exception):
    """Base of them all; the text says what happened and what to do."""


class DownloadError(DevstackError):
    """Kafka's jars are not cached and could not be downloaded."""


class NoJavaError(DevstackError):
    """Neither the wheel's Java nor one on the PATH can be run."""


class ServerError(DevstackError):
    """A server we started did not come up, does not answer, or does not stop."""


class UnreachableError(DevstackError):
    """A server whose address was given does not answer."""


class FolderBusyError(DevstackError):
    """Another process is bringing the same folder's stack up or down."""


class ServiceError(DevstackError):
    """A service's process ended or did not become ready in time."""
