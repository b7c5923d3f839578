"""A chat: rooms, messages to all in a room, who is there. Plain Flask-SocketIO on eventlet."""

import eventlet

eventlet.monkey_patch()

import sys

import engineio.payload
from flask import Flask, request
from flask_socketio import SocketIO, emit, join_room

# Long polling takes sixteen packets at a time otherwise.
engineio.payload.Payload.max_decode_packets = 1000

application = Flask(__name__)
chat = SocketIO(application, async_mode="eventlet")
people = {}


@application.route("/")
def index():
    return f"{len(people)} people"


@chat.on("enter")
def enter(name, room):
    people[request.sid] = (name, room)
    join_room(room)
    emit("entered", name, to=room)
    return sorted(other for other, where in people.values() if where == room)


@chat.on("say")
def say(text):
    name, room = people[request.sid]
    emit("said", (name, text), to=room)


@chat.on("disconnect")
def leave(reason=None):
    name, room = people.pop(request.sid, (None, None))
    if name:
        emit("left", name, to=room)


if __name__ == "__main__":
    chat.run(application, host="127.0.0.1", port=int(sys.argv[1]))
