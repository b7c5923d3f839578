"""Messages."""

from greenloom import _native

from .serialization import GenericContent, _dump_properties
from .spec import Basic

__all__ = ("Message",)


class Message(GenericContent):
    """A message: a body, and properties such as ``content_type`` or ``application_headers``, which are attributes too.

    One that was delivered has a ``channel`` and ``delivery_info``, a dict with the delivery tag and where it came from.
    A *body* that is a string is sent in the encoding that ``content_encoding`` says, or else in UTF-8, which is said
    then.
    """

    CLASS_ID = Basic.CLASS_ID

    #: Names, in the order in which they are sent, and the letters of their types.
    PROPERTIES = [
        ("content_type", "s"),
        ("content_encoding", "s"),
        ("application_headers", "F"),
        ("delivery_mode", "o"),
        ("priority", "o"),
        ("correlation_id", "s"),
        ("reply_to", "s"),
        ("expiration", "s"),
        ("message_id", "s"),
        ("timestamp", "L"),
        ("type", "s"),
        ("user_id", "s"),
        ("app_id", "s"),
        ("cluster_id", "s"),
    ]

    __slots__ = ("delivery_info", "body", "channel")

    def __init__(self, body="", children=None, channel=None, *, frame_method=None, frame_args=None, **properties):
        # Not by way of the base, which would copy the properties: one is made for each message that is published.
        self.frame_method = frame_method
        self.frame_args = frame_args
        self.properties = properties
        self.body = body
        self.channel = channel

    def _serialize_properties(self):
        if self.PROPERTIES is Message.PROPERTIES:
            return _dump_properties(self.properties)
        return super()._serialize_properties()

    @property
    def headers(self):
        """The headers, a dict; None if it has none."""
        return self.properties.get("application_headers")

    @property
    def delivery_tag(self):
        """What the broker knows the delivery by."""
        return self.delivery_info.get("delivery_tag")


_native.amqp_message(Message._serialize_properties, Message.PROPERTIES)
