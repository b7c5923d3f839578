"""Runs the chat with eight people in two rooms, over websockets and over long polling."""

import pathlib
import sys
import threading
import urllib.request

import engineio.payload
import socketio

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from programs import free_port, running, until, whose  # noqa: E402

# Long polling takes sixteen packets at a time otherwise, and this is more.
engineio.payload.Payload.max_decode_packets = 1000

SERVER = pathlib.Path(__file__).with_name("server.py")
MESSAGES = 25


class Person:
    def __init__(self, port, name, room, transport):
        self.name = name
        self.said, self.left = [], []
        self.client = socketio.Client()
        self.client.on("said", lambda name, text: self.said.append((name, text)))
        self.client.on("left", self.left.append)
        self.client.connect(f"http://127.0.0.1:{port}", transports=[transport])
        assert self.client.transport() == transport
        self.present = self.client.call("enter", (name, room))

    def say_much(self):
        for number in range(MESSAGES):
            self.client.emit("say", f"{self.name} {number}")


def main():
    port = free_port()
    with running(sys.executable, "-W", "ignore", SERVER, str(port), port=port):
        people = []
        for number in range(8):
            transport = ("websocket", "polling")[number // 2 % 2]
            people.append(Person(port, f"person {number}", f"room {number % 2}", transport))
        assert people[-1].present == ["person 1", "person 3", "person 5", "person 7"], people[-1].present
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/").read() == b"8 people"

        speaking = [threading.Thread(target=person.say_much) for person in people]
        for thread in speaking:
            thread.start()
        until(lambda: all(len(person.said) >= 4 * MESSAGES for person in people), 30, "everybody hears everything")
        for number, person in enumerate(people):
            assert len(person.said) == 4 * MESSAGES, "something was said twice"
            for other in people[number % 2 :: 2]:
                heard = [text for name, text in person.said if name == other.name]
                assert heard == [f"{other.name} {count}" for count in range(MESSAGES)], f"out of order: {heard}"

        people[0].client.disconnect()
        until(lambda: all("person 0" in person.left for person in people[2::2]), 10, "others hear who left")
        assert people[1].left == []
        for person in people[1:]:
            person.client.disconnect()
    print("the Flask-SocketIO chat works", whose())


if __name__ == "__main__":
    main()
