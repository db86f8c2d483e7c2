"""tuning/turn/turnserver.conf in a real coturn, with credentials that a real server made.

Run by scripts/turn-test.sh in a network namespace whose loopback interface has the public addresses
below, so that the settings can be used as they are shipped.
"""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

from turn import BINDING, Turn, credentials, session_credentials

ROOT = pathlib.Path(__file__).parents[2]
RELAY, RELAY_6 = os.environ["TURN_RELAY"], os.environ["TURN_RELAY_6"]
PEER, PEER_6 = os.environ["TURN_PEER"], os.environ["TURN_PEER_6"]
SECRET, PREVIOUS = "north wind, south wind", "an-earlier-secret"

# One or more addresses of each range that must not be reached, at its edges where they matter.
DENIED = """0.0.0.0 0.0.0.1 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.254 127.0.0.1 127.255.255.254
    169.254.169.254 172.16.0.1 172.31.255.254 192.0.0.1 192.0.2.1 192.168.0.1 192.168.255.254 198.18.0.1
    198.19.255.254 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255""".split()
DENIED_6 = """:: ::1 ::7f00:1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:1.2.3.5 64:ff9b::a00:1
    64:ff9b:1::a00:1 100::1 2001::1 2001:db8::1 2002:a00:1::1 fc00::1 fd00:ec2::254 fe80::1 febf::1 fec0::1
    ff02::1""".split()
# Neighbours of denied ranges, which are ordinary addresses.
ALLOWED = """1.2.3.5 9.255.255.255 11.0.0.1 100.63.255.254 100.128.0.1 126.255.255.255 128.0.0.1 169.253.1.1
    172.15.255.254 172.32.0.1 192.167.1.1 192.169.1.1 223.255.255.254""".split()
ALLOWED_6 = "2001:200::1 2606:4700::8 2a00::1".split()


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((RELAY if kind == socket.SOCK_DGRAM else "127.0.0.1", 0))
        return probe.getsockname()[1]


class Coturn:
    """coturn with the shipped settings, the secrets added by the shipped drop-in, and more lines."""

    def __init__(self, folder, more=()):
        etc, run = folder / "etc", folder / "run"
        for made in (etc, run):
            made.mkdir()
        (etc / "turn-secret").write_text(f"{SECRET}\n")
        (etc / "turn-secret.previous").write_text(f"{PREVIOUS}\n")
        shutil.copy(ROOT / "tuning/turn/turnserver.conf", etc / "turnserver.conf")
        drop_in = (ROOT / "tuning/turn/coturn.conf").read_text()
        (command,) = re.findall(r"^ExecStartPre=/bin/sh -c '(.*)'$", drop_in, re.MULTILINE)
        for there, here in (
            ("/etc/switchboard/", f"{etc}/"),
            ("/etc/turnserver.conf", f"{etc}/turnserver.conf"),
            ("/run/coturn/", f"{run}/"),
        ):
            assert there in command, there
            command = command.replace(there, here)
        # systemd removes one level of backslashes (systemd.syntax(7)).
        subprocess.run(["/bin/sh", "-c", command.replace("\\\\", "\\")], check=True)
        self.settings = run / "turnserver.conf"
        assert self.settings.stat().st_mode & 0o77 == 0, "others can read the secret"
        self.port = free_port(socket.SOCK_DGRAM)
        lines = [
            f"listening-port={self.port}", "tls-listening-port=0", f"listening-ip={RELAY}",
            f"listening-ip={RELAY_6}", f"relay-ip={RELAY}", f"relay-ip={RELAY_6}", "no-tls", "no-dtls",
            f"userdb={folder}/db", f"pidfile={folder}/pid", *more,
        ]  # fmt: skip
        shipped = self.settings.read_text().replace("syslog\n", f"log-file={folder}/log\n")
        # Of an option that is given twice the last one counts.
        self.settings.write_text(shipped + "\n".join(lines) + "\n")
        self.log = folder / "log"
        self.process = subprocess.Popen(
            ["turnserver", "-c", self.settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        client = Turn((RELAY, self.port), "", "")
        try:
            client.request(BINDING, [])
        except TimeoutError:
            self.stop()
            raise
        finally:
            client.close()

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


class Case(unittest.TestCase):
    MORE = ()

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="switchboard-turn-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.coturn = Coturn(cls.folder, cls.MORE)
        cls.addClassCleanup(cls.coturn.stop)

    def client(self, username, password, server=RELAY):
        client = Turn((server, self.coturn.port), username, password)
        self.addCleanup(client.close)
        return client

    def valid(self, user="tester", server=RELAY):
        return self.client(*credentials(SECRET, int(time.time()) + 600, user), server)


class Shipped(Case):
    def serve(self):
        """Starts a Switchboard server that shares the secret."""
        secret = self.folder / "etc/turn-secret"
        port = free_port()
        flags = ["--listen", f"127.0.0.1:{port}", "--shards", "1", "--no-pin"]
        flags += ["--turn-url", f"turn:{RELAY}:{self.coturn.port}", "--turn-secret-file", secret]
        server = subprocess.Popen([os.environ["SWITCHBOARD_BIN"], *flags], stderr=subprocess.PIPE, text=True)
        self.addCleanup(server.stderr.close)
        self.addCleanup(server.wait, 10)
        self.addCleanup(server.kill)
        while "in two tabs" not in server.stderr.readline():
            self.assertIsNone(server.poll())
        return port

    def test_credentials_of_the_server_relay_data_to_a_public_address(self):
        client = self.client(*session_credentials(self.serve()))
        host, port = client.allocate()
        self.assertEqual(host, RELAY)
        self.assertGreaterEqual(port, 49152)
        self.assertTrue(client.has_fingerprint)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(10)
            peer.bind((PEER, 0))
            self.assertIsNone(client.permit(PEER))
            client.relay(PEER, peer.getsockname()[1], b"there")
            data, source = peer.recvfrom(100)
            self.assertEqual((data, source), (b"there", (host, port)))
            peer.sendto(b"and back", source)
            self.assertEqual(client.receive(), b"and back")

    def test_two_relayed_users_meet_at_the_relay(self):
        one, other = self.valid("one"), self.valid("other")
        (_, _), (host, port) = one.allocate(), other.allocate()
        self.assertIsNone(one.permit(RELAY))
        self.assertIsNone(other.permit(RELAY))
        one.relay(host, port, b"hello")
        self.assertEqual(other.receive(), b"hello")

    def test_relays_nothing_to_private_and_special_addresses(self):
        client = self.valid()
        self.assertIsInstance(client.allocate(), tuple)
        self.assertEqual({peer: client.permit(peer) for peer in DENIED}, dict.fromkeys(DENIED, 403))
        self.assertEqual({peer: client.permit(peer) for peer in ALLOWED}, dict.fromkeys(ALLOWED))

    def test_relays_nothing_to_special_ipv6_addresses(self):
        client = self.valid(server=RELAY_6)
        self.assertEqual(client.allocate(family=6)[0], RELAY_6)
        self.assertEqual({peer: client.permit(peer) for peer in DENIED_6}, dict.fromkeys(DENIED_6, 403))
        self.assertEqual({peer: client.permit(peer) for peer in ALLOWED_6}, dict.fromkeys(ALLOWED_6))

    def test_data_for_the_loopback_does_not_arrive(self):
        client = self.valid()
        self.assertIsInstance(client.allocate(), tuple)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
            service.bind(("127.0.0.1", 0))
            self.assertEqual(client.permit("127.0.0.1"), 403)
            client.relay("127.0.0.1", service.getsockname()[1], b"inside")
            # A later exchange on the same socket shows that the data has been handled.
            self.assertIsNone(client.permit(PEER))
            service.setblocking(False)
            self.assertRaises(BlockingIOError, service.recv, 100)

    def test_refuses_a_wrong_password_an_expired_one_and_none(self):
        name, password = credentials(SECRET, int(time.time()) + 600)
        self.assertEqual(self.client(name, password[::-1]).allocate(), 401)
        self.assertEqual(self.client(*credentials(SECRET, int(time.time()) - 5)).allocate(), 401)
        # The time is part of what the password is made of.
        later = name.replace(name.split(":")[0], str(int(time.time()) + 9000))
        self.assertEqual(self.client(later, password).allocate(), 401)
        self.assertEqual(self.client(*credentials("another secret", int(time.time()) + 600)).allocate(), 401)
        self.assertEqual(self.client("tester", "password").allocate(), 401)

    def test_accepts_the_previous_secret_while_secrets_change(self):
        client = self.client(*credentials(PREVIOUS, int(time.time()) + 600))
        self.assertIsInstance(client.allocate(), tuple)

    def test_a_session_has_at_most_24_allocations(self):
        # The quota is counted for the session, whatever the time in the user name is.
        now = int(time.time())
        results = [self.client(*credentials(SECRET, now + 600 + nth, "greedy")).allocate() for nth in range(26)]
        self.assertEqual([type(one) for one in results[:24]], [tuple] * 24)
        self.assertEqual(results[24:], [486, 486])
        self.assertIsInstance(self.valid("modest").allocate(), tuple)


class TotalQuota(Case):
    MORE = ("total-quota=3",)

    def test_the_total_of_allocations_is_limited(self):
        results = [self.valid(f"user-{nth}").allocate() for nth in range(4)]
        self.assertEqual([type(one) for one in results[:3]], [tuple] * 3)
        self.assertEqual(results[3], 486)


class AllowedByTheOperator(Case):
    MORE = ("allowed-peer-ip=10.1.2.3",)

    def test_one_address_can_be_allowed_and_its_network_stays_denied(self):
        client = self.valid()
        self.assertIsInstance(client.allocate(), tuple)
        self.assertIsNone(client.permit("10.1.2.3"))
        self.assertEqual(client.permit("10.1.2.4"), 403)


if __name__ == "__main__":
    unittest.main(verbosity=2)
