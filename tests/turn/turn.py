"""A TURN client (RFC 8656) for scripts/turn-test.sh, and a client of the server's `session` message.

Each function makes one exchange over UDP. A result is the relayed address, or the error code of the
response (RFC 8489 §14.8).
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import os
import secrets
import socket
import struct
import time

COOKIE = 0x2112A442
BINDING, ALLOCATE, CREATE_PERMISSION, SEND, DATA = 0x001, 0x003, 0x008, 0x016, 0x017
USERNAME, INTEGRITY, ERROR_CODE, PEER, DATA_ATTRIBUTE = 0x06, 0x08, 0x09, 0x12, 0x13
REALM, NONCE, RELAYED, FAMILY, TRANSPORT, FINGERPRINT = 0x14, 0x15, 0x16, 0x17, 0x19, 0x8028


def session_credentials(port):
    """User name and password of the first TURN server in the `session` message."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        stream = connection.makefile("rb")
        while stream.readline().strip():
            pass
        length = stream.read(2)[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", stream.read(2))
        payload = json.loads(stream.read(length))["payload"]
    server = next(entry for entry in payload["ice_servers"] if "credential" in entry)
    return server["username"], server["credential"]


def credentials(secret, expires_unix, user="tester"):
    """Credentials as the server makes them."""
    name = f"{expires_unix}:{user}"
    digest = hmac.new(secret.encode(), name.encode(), hashlib.sha1).digest()
    return name, base64.b64encode(digest).decode()


def encode_attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def encode_address(address, port, transaction):
    ip = ipaddress.ip_address(address)
    key = struct.pack("!I", COOKIE) + transaction
    masked = bytes(one ^ other for one, other in zip(ip.packed, key))
    return struct.pack("!BBH", 0, 1 if ip.version == 4 else 2, port ^ (COOKIE >> 16)) + masked


def decode_address(value, transaction):
    _, family, port = struct.unpack("!BBH", value[:4])
    key = struct.pack("!I", COOKIE) + transaction
    packed = bytes(one ^ other for one, other in zip(value[4:], key))
    assert family in (1, 2)
    return str(ipaddress.ip_address(packed)), port ^ (COOKIE >> 16)


class Turn:
    """A client with one UDP socket, and so with at most one allocation."""

    def __init__(self, server, username, password):
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(1)
        self.socket.connect(server)
        self.username, self.password = username, password
        self.realm, self.nonce = b"", b""
        self.has_fingerprint = False

    def close(self):
        self.socket.close()

    def request(self, method, attributes):
        """The attributes of the response, or the error code. Authenticates when it is told to."""
        for _ in range(3):
            transaction = secrets.token_bytes(12)
            body = b"".join(
                encode_attribute(kind, value(transaction) if callable(value) else value)
                for kind, value in attributes
            )
            if self.nonce:
                body += encode_attribute(USERNAME, self.username.encode())
                body += encode_attribute(REALM, self.realm) + encode_attribute(NONCE, self.nonce)
                text = self.username.encode() + b":" + self.realm + b":" + self.password.encode()
                head = struct.pack("!HHI", method, len(body) + 24, COOKIE) + transaction
                digest = hmac.new(hashlib.md5(text).digest(), head + body, hashlib.sha1).digest()
                body += encode_attribute(INTEGRITY, digest)
            message = struct.pack("!HHI", method, len(body), COOKIE) + transaction + body
            found, is_error = self.exchange(message, transaction)
            if not is_error:
                return found
            code = found[ERROR_CODE][2] * 100 + found[ERROR_CODE][3]
            first_challenge = code == 401 and not self.nonce
            if not first_challenge and code != 438:
                return code
            self.realm, self.nonce = found[REALM], found[NONCE]
        return code

    def exchange(self, message, transaction):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                self.socket.send(message)
                while True:
                    response = self.socket.recv(2048)
                    if response[8:20] == transaction:
                        break
            except TimeoutError:
                continue
            except ConnectionRefusedError:
                # coturn does not listen yet.
                time.sleep(0.05)
                continue
            kind = struct.unpack("!H", response[:2])[0]
            found = self.attributes(response)
            self.has_fingerprint = FINGERPRINT in found
            return found, kind & 0x110 == 0x110
        raise TimeoutError("the TURN server does not answer")

    @staticmethod
    def attributes(message):
        found, at = {}, 20
        while at + 4 <= len(message):
            kind, length = struct.unpack("!HH", message[at : at + 4])
            found.setdefault(kind, message[at + 4 : at + 4 + length])
            at += 4 + length + -length % 4
        return found

    def allocate(self, family=4):
        """The relayed address, or an error code."""
        transport = encode_family(17)
        wanted = [(TRANSPORT, transport)]
        if family == 6:
            wanted.append((FAMILY, encode_family(2)))
        transactions = []
        wanted.append((0x8022, lambda transaction: transactions.append(transaction) or b"test"))
        found = self.request(ALLOCATE, wanted)
        return found if isinstance(found, int) else decode_address(found[RELAYED], transactions[-1])

    def permit(self, peer):
        """None if relaying to this peer is permitted, else the error code."""
        address = lambda transaction: encode_address(peer, 9, transaction)
        found = self.request(CREATE_PERMISSION, [(PEER, address)])
        return found if isinstance(found, int) else None

    def relay(self, peer, port, data):
        """Sends data to a peer; there is no response."""
        transaction = secrets.token_bytes(12)
        body = encode_attribute(PEER, encode_address(peer, port, transaction))
        body += encode_attribute(DATA_ATTRIBUTE, data)
        self.socket.send(struct.pack("!HHI", SEND, len(body), COOKIE) + transaction + body)

    def receive(self):
        """The next data from a peer."""
        while True:
            message = self.socket.recv(2048)
            if struct.unpack("!H", message[:2])[0] == DATA:
                return self.attributes(message)[DATA_ATTRIBUTE]


def encode_family(value):
    """One byte and three reserved ones."""
    return bytes([value, 0, 0, 0])
