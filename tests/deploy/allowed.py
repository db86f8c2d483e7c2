"""Compares the system calls of a running server with those that its systemd unit allows.

    python3 tests/deploy/allowed.py tuning/switchboard.service target/debug/switchboard

The server runs under strace: it starts, pins its shards, reports to a service manager, serves
documents, matches users of different shards, and shuts down; once with a shared
descriptor table and, where the kernel supports it, once with one table for each shard. Every
system call must be in the unit's SystemCallFilter=, every socket family in its
RestrictAddressFamilies=, and no memory may be both writable and executable. Prints each
violation; exits with status 1 if there is any.
"""

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time


def settings(unit, name):
    """The values of a setting, which may have several lines."""
    with open(unit, encoding="utf-8") as lines:
        return [line.strip().partition("=")[2] for line in lines if line.startswith(name + "=")]


def groups():
    """systemd's named sets of system calls (@name), as systemd lists them."""
    text = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"],
        check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ).stdout
    found, members = {}, set()
    for line in text.splitlines():
        if line.startswith("@"):
            members = found.setdefault(line.split()[0], set())
        elif line.startswith("    ") and not line.strip().startswith("#"):
            members.add(line.strip())
    return found


def expanded(words, known):
    calls = set()
    for word in words:
        calls |= expanded(known[word], known) if word.startswith("@") else {word}
    return calls


def allowed(unit):
    """systemd.exec(5): the first line makes an allow list, later ones add to it or, behind a
    tilde, remove calls. The set @default, which every process needs, is always included."""
    known = groups()
    calls = expanded(["@default"], known)
    for line in settings(unit, "SystemCallFilter"):
        taken = line.startswith("~")
        members = expanded(line.lstrip("~").split(), known)
        calls = calls - members if taken else calls | members
    return calls


def frame(text):
    """One masked text frame (RFC 6455 section 5.2); a mask of zeros changes nothing."""
    data = text.encode()
    return bytes([0x81, 0x80 | len(data)]) + bytes(4) + data


def until(link, word):
    seen = b""
    while word not in seen:
        more = link.recv(65536)
        if not more:
            raise SystemExit(f"the server closed the connection before {word}: {seen}")
        seen += more


def user(port):
    link = socket.create_connection(("127.0.0.1", port), timeout=30)
    key = base64.b64encode(os.urandom(16)).decode()
    link.sendall(
        (f"GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode()
    )
    until(link, b'"session"')
    return link


def work(port, manager):
    """Uses every function of the server once."""
    manager.recv(4096)
    for path in ("/", "/health", "/stats", "/metrics", "/nothing"):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as link:
            link.sendall(f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
            while link.recv(65536):
                pass
    # With 24 pairs, some are matched across shards, and one session of such a pair migrates.
    for _ in range(24):
        one, two = user(port), user(port)
        for link in (one, two):
            link.sendall(frame('{"type":"find_match"}'))
        for link in (one, two):
            until(link, b'"match_found"')
        one.sendall(frame('{"type":"offer","payload":{"sdp":"v=0"}}'))
        until(two, b'"v=0"')
        one.close()
        until(two, b'"peer_left"')
        two.close()


def calls_of(server, folder, tables):
    """The lines of strace for a run of the server; empty if the kernel has no support for `tables`."""
    log, path = os.path.join(folder, "strace"), os.path.join(folder, "manager")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(path)
    manager.settimeout(60)
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("SWITCHBOARD_")}
    environment |= {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "500000"}
    child = subprocess.Popen(
        ["strace", "-f", "-qq", "-s", "0", "-o", log, server,
         "--listen", "127.0.0.1:0,[::1]:0", "--shards", "2", "--fd-tables", tables],
        stderr=subprocess.PIPE, text=True, env=environment,
    )
    port = None
    for line in child.stderr:
        if "does not work here" in line:
            child.wait(60)
            print(f"    {line.strip()}")
            return []
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", line)
        port = int(found[1]) if found else port
        if "max_connections" in line:
            break
    work(port, manager)
    with open(log, encoding="utf-8") as lines:
        server_pid = int(lines.readline().split()[0])
    time.sleep(1.2)  # Time for a sample and a watchdog message to the manager.
    os.kill(server_pid, signal.SIGTERM)
    child.stderr.read()
    if child.wait(60) != 0:
        raise SystemExit(f"the server ended with {child.returncode}")
    with open(log, encoding="utf-8") as lines:
        return lines.read().splitlines()


def analyse(lines, families, wrong):
    """Returns the system calls of these lines; adds other violations to `wrong`."""
    used = set()
    for line in lines:
        call = re.match(r"\d+ +(?:<\.\.\. )?([a-z0-9_]+)", line)
        if not call or line.split()[1].startswith(("+++", "---")):
            continue
        used.add(call[1])
        family = re.search(r" socket\((AF_[A-Z0-9]+)", line)
        if family and family[1] not in families:
            wrong.add(f"socket family {family[1]}")
        if "PROT_WRITE" in line and "PROT_EXEC" in line:
            wrong.add("memory that is writable and executable")
    return used


def main():
    unit, server = sys.argv[1:]
    permitted = allowed(unit)
    families = set(" ".join(settings(unit, "RestrictAddressFamilies")).split())
    wanted = {"shared": {"sched_setaffinity", "epoll_wait", "prlimit64"},
              "private": {"pidfd_open", "pidfd_getfd"}}
    used, wrong = set(), set()
    for tables, needed in wanted.items():
        with tempfile.TemporaryDirectory() as folder:
            lines = calls_of(server, folder, tables)
        seen = analyse(lines, families, wrong)
        if lines and needed - seen:
            wrong.add(f"the server did not call {needed - seen}, so this run does not test it")
        used |= seen
    wrong |= {f"system call {name}" for name in used - permitted}
    for what in sorted(wrong):
        print(f"not allowed: {what}")
    print(f"    {len(used)} system calls used, {len(permitted)} allowed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
