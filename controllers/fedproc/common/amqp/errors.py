"""What can go wrong with the broker, in words that an operator can act on."""

from __future__ import annotations

from pika import exceptions

from fedproc.common.errors import UnavailableError


class BrokerError(UnavailableError):
    """The broker is away, or it did not do what it was asked to."""


class ClosedByBrokerError(BrokerError):
    """The broker closed a channel or the connection; ``reply_code`` is AMQP's (403: not allowed, 404: not there)."""

    def __init__(self, what: str, reply_code: int, reply_text: str) -> None:
        super().__init__(f"the broker closed the {what}: {reply_text} ({reply_code})")
        self.reply_code = reply_code


class NotTakenError(BrokerError):
    """The broker refused one message: its queue is full, or away. Other queues may be well."""


class ReturnedError(BrokerError):
    """The broker gave a message back: there is no queue for it. ``routing_key`` is that of the message."""

    def __init__(self, exchange: str, routing_key: str, reply_text: str) -> None:
        super().__init__(f"the broker has no queue for {routing_key!r} of exchange {exchange!r}: {reply_text}")
        self.routing_key = routing_key


def broker_error(cause: BaseException) -> BrokerError:
    """The error that says why a channel or the connection is closed, or does not work; always a new one."""
    what = "channel" if isinstance(cause, exceptions.AMQPChannelError) else "connection"
    match cause:
        case exceptions.ConnectionClosedByBroker() | exceptions.ChannelClosedByBroker():
            return ClosedByBrokerError(what, cause.reply_code, cause.reply_text)
        case exceptions.ConnectionClosed() | exceptions.ChannelClosed():
            return BrokerError(f"the {what} to the broker was closed by this program")
        case exceptions.AMQPError() if cause.args:
            return BrokerError(f"the {what} to the broker: {cause.args[0]}")
        case _:
            return BrokerError(f"the {what} to the broker: {cause or type(cause).__name__}")
