"""Gateways and scanners that have become somebody else's: programs/turncoat.c in
the place of the real ones."""
import copy
import os
import select
import socket
import struct
import time

SEPARATOR = b"\x1f"


class Turncoats:
    """The directory of programs with a turncoat for both roles, and the line on
    which they are told what to do."""

    def __init__(self, host, turncoat):
        self.host = host
        libexec = host.dir / "libexec"
        libexec.mkdir(mode=0o755)
        real = host.installed.libexec
        for name in ("spawner", "init"):
            (libexec / f"fcgi-host-{name}").symlink_to(
                real / f"fcgi-host-{name}")
        for name in ("gateway", "scanner"):
            (libexec / f"fcgi-host-{name}").symlink_to(turncoat)
        (host.dir / "honest").symlink_to(real)
        host.installed = copy.copy(host.installed)
        host.installed.libexec = libexec
        self.lines, self.pids = {}, {}
        self.came = set() # while another was waited for
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(host.dir / "line"))
        self.listener.listen(16)

    def meet(self, role, timeout=15):
        """Waits for the next one of the role; its pid."""
        until = time.monotonic() + timeout
        while role not in self.came:
            left = until - time.monotonic()
            assert left > 0 and select.select([self.listener], [], [], left)[0], \
                f"no {role} came:\n{self.host.log()[-2000:]}"
            line, _ = self.listener.accept()
            line.settimeout(15)
            pid = struct.unpack("3i", line.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
            name = line.recv(100).decode()
            if name in self.lines:
                self.lines[name].close()
            self.lines[name], self.pids[name] = line, pid
            self.came.add(name)
        self.came.remove(role)
        return self.pids[role]

    def tell(self, role, verb, what=b"", waits=True):
        """What the role answers: "done", mostly."""
        if isinstance(what, str):
            what = what.encode()
        line = self.lines[role]
        line.send(verb.encode() + b"\0" + what)
        try:
            return line.recv(4000).decode() if waits else None
        except ConnectionResetError:
            return "" # it is dead

    def types(self, role):
        """{"said": {number: name}, "heard": …, "type": …} of the session."""
        found = {"said": {}, "heard": {}, "type": {}}
        for line in self.tell(role, "types").splitlines():
            way, number, name = line.split()
            found[way][int(number)] = name
        return found

    def await_said(self, role, name, timeout=30):
        """Until the real one has said it, so that what stands before is known."""
        until = time.monotonic() + timeout
        while name not in self.types(role)["said"].values():
            assert time.monotonic() < until, f"the {role} never said {name}"
            time.sleep(0.02)

    def put(self, base, *fields):
        """One function's report, changed: ("name", "x"), …"""
        self.await_said("scanner", "fn_sync")
        parts = [base.encode()]
        for key, value in fields:
            value = value if isinstance(value, bytes) else str(value).encode()
            parts.append(key.encode() + b"=" + value)
        return self.tell("scanner", "put", SEPARATOR.join(parts))

    def put_honest_ones_back(self):
        """The next of each role is the real program."""
        self.listener.close()
        os.unlink(self.host.dir / "line")
        for line in self.lines.values():
            line.close()
        self.lines = {}
