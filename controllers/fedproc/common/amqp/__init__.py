"""The one way to the broker: AMQP 0-9-1 by pika, over a stream that the caller may open, with a token as password.

:class:`Session` is a connection, :class:`Channel` what is declared and consumed on it, :class:`PublishingChannel`
what is published with a confirm for each message, and :func:`keep_connected` makes a lost session again. Each error
is a :class:`BrokerError` whose text says what the broker said.
"""

from fedproc.common.amqp.channel import Channel, Delivery, PublishingChannel, Receive
from fedproc.common.amqp.errors import BrokerError, ClosedByBrokerError, NotTakenError, ReturnedError
from fedproc.common.amqp.reconnect import keep_connected
from fedproc.common.amqp.session import BrokerAddress, Session, TokenSource
from fedproc.common.amqp.stream import Opener, Stream

__all__ = [
    "BrokerAddress",
    "BrokerError",
    "Channel",
    "ClosedByBrokerError",
    "Delivery",
    "NotTakenError",
    "Opener",
    "PublishingChannel",
    "Receive",
    "ReturnedError",
    "Session",
    "Stream",
    "TokenSource",
    "keep_connected",
]
