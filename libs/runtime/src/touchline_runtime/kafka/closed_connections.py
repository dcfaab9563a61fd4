"""Requests on a connection that was closed a moment ago.

uvloop refuses a write on a closed transport with RuntimeError, where asyncio's own loop accepts it. aiokafka expects
OSError (https://github.com/aio-libs/aiokafka/issues/1038): any other exception ends the background task that wrote,
for ever. A consumer without its fetcher returns nothing and reports no error.
"""

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError

_send = AIOKafkaConnection.send
_send_sasl_token = AIOKafkaConnection._send_sasl_token


def _request(connection: AIOKafkaConnection, *arguments: Any, **more: Any) -> Any:
    return _checked(connection, _send, *arguments, **more)


def _sasl_token(connection: AIOKafkaConnection, *arguments: Any, **more: Any) -> Any:
    return _checked(connection, _send_sasl_token, *arguments, **more)


def _checked(connection: AIOKafkaConnection, send: Any, *arguments: Any, **more: Any) -> Any:
    try:
        return send(connection, *arguments, **more)
    except KafkaError:
        # A KafkaError is a RuntimeError, too.
        raise
    except RuntimeError as error:
        if not connection._writer.transport.is_closing():
            raise
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} closed: {error}") from error


def install() -> None:
    """Have every connection of the process report a closed transport as aiokafka expects it."""
    AIOKafkaConnection.send = _request
    AIOKafkaConnection._send_sasl_token = _sasl_token
