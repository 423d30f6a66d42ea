"""A service manager as far as a host knows one: it hears what the host says
(sd_notify), hands it sockets (sd_listen_fds), and with `stores` keeps those that
the host gives it (FileDescriptorStoreMax=) until the next start."""
import os
import pathlib
import select
import socket
import sys
import threading
import time

# The process that systemd forks: its descriptors in a row from 3 on, its own
# number in LISTEN_PID, and the same process becomes the program.
LAUNCHER = """
import fcntl, os, sys
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 500)
        for fd in sys.argv[1].split(",")]
os.closerange(3, 500)
for at, fd in enumerate(high, 3):
    os.dup2(fd, at)
os.closerange(500, 1000)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


def launch(fds, command):
    """The command line that starts a command with these descriptors."""
    return [sys.executable, "-c", LAUNCHER, ",".join(map(str, fds)), *command]


class Manager:
    """path: of its socket.  sockets: [(socket, name)] that it holds."""

    def __init__(self, path, stores=False):
        self.path = pathlib.Path(path)
        self.stores = stores
        self.sockets = []
        self.store = []      # [(name, descriptor)]
        self.said = []       # every line, of all runs
        self.heard = threading.Condition()
        self.path.unlink(missing_ok=True)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(self.path))
        os.chmod(self.path, 0o666)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.reader.join()
        self.sock.close()
        self.path.unlink(missing_ok=True)
        self.forget()

    def forget(self):
        """What a full stop does to the store."""
        for _, fd in self.store:
            os.close(fd)
        self.store = []

    def hold(self, name, address, backlog=4096):
        """Listens, as a .socket unit does: a path, or (host, port)."""
        is_path = isinstance(address, str)
        held = socket.socket(socket.AF_UNIX if is_path else socket.AF_INET)
        if is_path:
            pathlib.Path(address).unlink(missing_ok=True)
        else:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(address)
        if is_path:
            os.chmod(address, 0o666)
        held.listen(backlog)
        self.sockets.append((held, name))
        return held

    def handed(self):
        """[(name, descriptor)] for the next start."""
        return [(name, held.fileno()) for held, name in self.sockets] + \
            self.store

    def environment(self):
        facts = {"NOTIFY_SOCKET": str(self.path)}
        if self.stores:
            facts["FDSTORE"] = "24"
        handed = self.handed()
        if handed:
            facts["LISTEN_FDS"] = str(len(handed))
            facts["LISTEN_FDNAMES"] = ":".join(name for name, _ in handed)
        return facts

    # ------------------------------------------------------------- hearing

    def _read(self):
        while True:
            text, fds, _, _ = socket.recv_fds(self.sock, 4096, 253)
            if not text:
                return
            lines = text.decode().split("\n")
            facts = dict(line.partition("=")[::2] for line in lines)
            with self.heard:
                if facts.get("FDSTORE") == "1" and self.stores:
                    for fd in fds:
                        self._keep(facts.get("FDNAME", "stored"), fd)
                else:
                    for fd in fds:
                        os.close(fd)
                if facts.get("FDSTOREREMOVE") == "1":
                    self._drop(facts["FDNAME"])
                self.said += lines
                self.heard.notify_all()

    def _keep(self, name, fd):
        """One that it has already is not kept twice."""
        if os.fstat(fd).st_ino in (os.fstat(f).st_ino for _, f in self.store):
            os.close(fd)
        else:
            self.store.append((name, fd))

    def _drop(self, name):
        for one in [one for one in self.store if one[0] == name]:
            self.store.remove(one)
            os.close(one[1])

    def wait(self, notice, since, timeout, is_over):
        """Waits for a line said after the first `since`; False: is_over()."""
        until = time.monotonic() + timeout
        with self.heard:
            while notice not in self.said[since:]:
                if is_over():
                    # what was said at the end may not be read yet
                    while select.select([self.sock], [], [], 0)[0]:
                        self.heard.wait(0.01)
                    self.heard.wait(0.1)
                    return notice in self.said[since:]
                assert time.monotonic() < until, f"no {notice} in {timeout} s"
                self.heard.wait(0.1)
        return True
