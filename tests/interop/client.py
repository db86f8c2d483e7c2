"""One user of Switchboard, framed by Python's `websockets`.

usage: client.py ADDRESS pair QUEUE     two clients meet and exchange the signalling of a call
       client.py ADDRESS many QUEUE N  N users at once, who meet in pairs

The steps and checks are those of client.js beside this file, so that either can meet
the other. The last line on standard output is the result; a failure exits with 1.
"""

import asyncio
import json
import sys

import websockets
from websockets.asyncio.client import connect

TIMEOUT_S = 20
CANDIDATES = 5
# Characters that a client or a server could change by mistake.
SDP = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=note:ä€😀 \\ \"/\r\n"


def candidate(who, nth):
    return {
        "candidate": f"candidate:{nth} 1 udp 2122260223 192.0.2.{nth} 50000 typ host ufrag {who}",
        "sdpMid": "0",
        "sdpMLineIndex": 0,
    }


class User:
    """A session."""

    def __init__(self, socket):
        self.socket = socket
        self.id = None

    @classmethod
    async def enter(cls, address):
        user = cls(await connect(f"ws://{address}/ws", open_timeout=TIMEOUT_S))
        user.id = (await user.expect("session"))["session_id"]
        return user

    async def say(self, kind, payload=None, room=None):
        message = {"type": kind}
        if room is not None:
            message["room_id"] = room
        if payload is not None:
            message["payload"] = payload
        await self.socket.send(json.dumps(message, ensure_ascii=False))

    async def expect(self, kind):
        text = await asyncio.wait_for(self.socket.recv(), TIMEOUT_S)
        assert isinstance(text, str), "the server sends text"
        message = json.loads(text)
        assert message["type"] == kind, f"expected {kind}, got {text}"
        return message.get("payload")

    async def meet(self, queue):
        await self.say("find_match", {"queue": queue})
        assert (await self.expect("waiting")) == {"queue": queue}
        return await self.expect("match_found")

    async def leave(self):
        await self.socket.close(1000)
        assert self.socket.close_code == 1000, self.socket.close_code


async def call(user, found):
    """Offer, answer and candidates, as WebRTC needs them; checks every byte of them."""
    room, me, other = found["room_id"], user.id, found["peer_id"]
    if found["initiator"]:
        await user.say("offer", {"type": "offer", "sdp": SDP, "from": me}, room)
        answer = await user.expect("answer")
        assert answer == {"type": "answer", "sdp": SDP, "from": other}, answer
    else:
        offer = await user.expect("offer")
        assert offer == {"type": "offer", "sdp": SDP, "from": other}, offer
        await user.say("answer", {"type": "answer", "sdp": SDP, "from": me}, room)
    for nth in range(CANDIDATES):
        await user.say("ice_candidate", candidate(me, nth), room)
    for nth in range(CANDIDATES):
        received = await user.expect("ice_candidate")
        assert received == candidate(other, nth), received


async def pair(address, queue):
    user = await User.enter(address)
    await user.say("ping", {"n": 1})
    assert await user.expect("pong") == {"n": 1}
    pong = await user.socket.ping(b"a protocol-level ping")
    await asyncio.wait_for(pong, TIMEOUT_S)
    found = await user.meet(queue)
    await call(user, found)
    # The answerer leaves and the initiator gets peer_left, so both know that the other is done.
    if found["initiator"]:
        left = await user.expect("peer_left")
        assert left == {"room_id": found["room_id"], "reason": "left"}, left
    else:
        await user.say("leave_room", room=found["room_id"])
        assert await user.expect("room_left") == {"room_id": found["room_id"]}
    await user.leave()
    return user.id, found["peer_id"], found["initiator"]


async def many(address, queue, count):
    users = await asyncio.gather(*(User.enter(address) for _ in range(count)))
    found = await asyncio.gather(*(user.meet(queue) for user in users))
    rooms = {}
    for user, match in zip(users, found):
        rooms.setdefault(match["room_id"], []).append((user.id, match))
    assert len(rooms) == count // 2, f"{len(rooms)} rooms of {count}"
    for members in rooms.values():
        (one, ones), (other, others) = members
        assert (ones["peer_id"], others["peer_id"]) == (other, one), members
        assert ones["initiator"] != others["initiator"], members
    await asyncio.gather(*(call(user, match) for user, match in zip(users, found)))
    await asyncio.gather(*(user.leave() for user in users))
    return len(rooms)


def main():
    address, what, queue, *count = sys.argv[1:]
    if what == "pair":
        me, other, initiator = asyncio.run(pair(address, queue))
        role = "initiator" if initiator else "answerer"
        print(f"python met {other} as {role} {me}")
    else:
        rooms = asyncio.run(many(address, queue, int(count[0])))
        print(f"python: {rooms} rooms of {count[0]} users, websockets {websockets.__version__}")


if __name__ == "__main__":
    main()
