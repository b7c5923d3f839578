"""Values, properties and messages: what is written is read back, and what was made up is an error or a value."""

import copy
import pickle
import random
import struct
import unittest
from datetime import datetime
from decimal import Decimal

import amqp
from amqp.serialization import decode_properties_basic, dumps, loads

#: What py-amqp raises for what cannot be read, too: a text that is no UTF-8, a time that no calendar has.
REFUSALS = (amqp.FrameSyntaxError, UnicodeDecodeError, OverflowError, ValueError, OSError)


def value(rng, depth=0):
    kinds = [
        lambda: None,
        lambda: rng.random() < 0.5,
        lambda: rng.randrange(-(2**31), 2**31),
        lambda: rng.randrange(-(2**63), 2**63),
        lambda: rng.uniform(-1e300, 1e300),
        lambda: "".join(rng.choice("aä€😀\0") for _ in range(rng.randrange(60))),
        lambda: b"\xff" + rng.randbytes(rng.randrange(60)),
        lambda: Decimal(rng.randrange(-(2**31), 2**31)).scaleb(-rng.randrange(0, 9)),
        lambda: datetime(rng.randrange(1970, 2200), rng.randrange(1, 13), rng.randrange(1, 29), rng.randrange(24)),
    ]
    if depth < 5:
        kinds += [
            lambda: [value(rng, depth + 1) for _ in range(rng.randrange(4))],
            lambda: table(rng, depth + 1),
        ] * 2
    return rng.choice(kinds)()


def table(rng, depth=0):
    return {f"key{rng.randrange(1000)}" * rng.randrange(1, 9): value(rng, depth) for _ in range(rng.randrange(6))}


class Values(unittest.TestCase):
    def test_random_tables_are_read_as_they_were_written(self):
        for seed in range(400):
            with self.subTest(seed=seed):
                given = table(random.Random(seed))
                written = dumps("F", [given])
                self.assertEqual(loads("F", written, 0), ([given], len(written)))

    def test_arguments_may_be_given_by_name(self):
        written = dumps(format="sl", values=["a", 1])
        self.assertEqual(loads(format="sl", buf=written, offset=0), (["a", 1], len(written)))
        self.assertEqual(decode_properties_basic(buf=b"\0\0", offset=0), ({}, 2))
        self.assertRaisesRegex(TypeError, "missing a required argument: 'values'", dumps, format="s")

    def test_random_bytes_and_changed_ones_are_values_or_refused(self):
        rng = random.Random(1)
        formats = ["F", "A", "oBlLfsSxFATbb", "sLbss", "BsBB", "ooFSS"]
        for seed in range(2000):
            data = bytearray(dumps("F", [table(random.Random(seed % 300))]))
            for _ in range(rng.randrange(4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            data = bytes(data[: rng.randrange(len(data) + 1)] if seed % 3 else rng.randbytes(rng.randrange(80)))
            with self.subTest(data=data):
                for read in (lambda: loads(rng.choice(formats), data, 0), lambda: decode_properties_basic(data, 0)):
                    try:
                        _values, offset = read()
                    except REFUSALS:
                        continue
                    self.assertLessEqual(offset, len(data))

    def test_every_beginning_of_a_table_is_refused(self):
        written = dumps("F", [{"a": [1, {"b": "c"}, Decimal("1.5"), None], "d": 2.5, "e": datetime(2020, 1, 1)}])
        for length in range(len(written)):
            with self.assertRaises(amqp.FrameSyntaxError):
                loads("F", written[:length], 0)

    def test_tables_that_nest_too_deeply_are_refused(self):
        item = b"V"
        for _ in range(100_000):
            item = b"A" + struct.pack(">I", len(item)) + item
        with self.assertRaises(amqp.FrameSyntaxError):
            loads("A", item[1:], 0)
        endless = []
        endless.append(endless)
        with self.assertRaises(amqp.FrameSyntaxError):
            dumps("A", [endless])

    def test_what_does_not_fit_its_field_is_a_struct_error(self):
        for letter, wrong in (("o", 256), ("o", -1), ("B", 65536), ("l", 2**32), ("L", -1), ("s", "x" * 256)):
            with self.subTest(letter=letter), self.assertRaises(struct.error):
                dumps(letter, [wrong])
        with self.assertRaises(struct.error):
            dumps("F", [{"a": 2**63}])

    def test_a_value_of_no_known_type_is_named(self):
        with self.assertRaisesRegex(amqp.FrameSyntaxError, "Table type <class 'object'> for key 'a key' not handled"):
            dumps("F", [{"a key": object()}])

    def test_keys_that_repeat_are_one_string(self):
        written = dumps("F", [{"x-repeats": 1}])
        one, other = (next(iter(loads("F", written, 0)[0][0])) for _ in range(2))
        self.assertIs(one, other)


class Messages(unittest.TestCase):
    def received(self, **properties):
        """A message as it comes in."""
        from greenloom import _native

        sent = amqp.Message(b"a body", **properties)
        stream = _native.AmqpStream(amqp.Message, 1 << 17)
        self.assertIsNone(stream.frame(1, 1, struct.pack(">HH", 60, 60)))
        header = struct.pack(">HHQ", 60, 0, len(sent.body)) + sent._serialize_properties()
        self.assertIsNone(stream.frame(2, 1, header))
        return stream.frame(3, 1, sent.body)[3]

    def test_attributes_of_a_received_message_are_made_when_asked_for(self):
        message = self.received(content_type="a/b", application_headers={"h": 1}, priority=3)
        self.assertEqual((message.content_type, message.headers, message.priority), ("a/b", {"h": 1}, 3))
        self.assertEqual((message.body, message.body_size, message.body_received), (b"a body", 6, 6))
        self.assertEqual((message.ready, message.delivery_info, message.channel), (True, None, None))
        self.assertIs(message.properties, message.properties)
        self.assertFalse(hasattr(message, "reply_to"))

    def test_a_received_message_is_pickled_and_copied(self):
        message = self.received(content_type="a/b")
        message.delivery_info = {"delivery_tag": 5}
        for other in (pickle.loads(pickle.dumps(message)), copy.copy(message), copy.deepcopy(message)):
            self.assertEqual(other.body, b"a body")
            self.assertEqual((other.properties, other.delivery_tag), ({"content_type": "a/b"}, 5))

    def test_messages_of_a_subclass_come_in_as_that_class_makes_them(self):
        class Own(amqp.Message):
            own = "own"

        from greenloom import _native

        stream = _native.AmqpStream(Own, 1 << 17)
        stream.frame(1, 1, struct.pack(">HH", 60, 60))
        message = stream.frame(2, 1, struct.pack(">HHQ", 60, 0, 0) + b"\0\0")[3]
        self.assertIs(type(message), Own)
        self.assertEqual((message.own, message.body), ("own", b""))


if __name__ == "__main__":
    unittest.main()
