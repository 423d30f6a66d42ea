"""A program at a terminal: a pair, of which the program has the one end as its
controlling terminal, and the test the other."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from lib import proc

SECONDS = 30


class Terminal:
    """start, send, expect, follows, wait; to be used in a `with`."""

    def __init__(self, command, env, rows=24, columns=80, **more):
        self.master, self.slave = pty.openpty()
        self.seen = b""
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        standard = {"stdin": self.slave, "stdout": self.slave,
                    "stderr": self.slave, **more}
        self.process = subprocess.Popen(
            list(map(str, command)), env={"TERM": "dumb", **env},
            start_new_session=True, preexec_fn=self.control, **standard)

    def control(self):
        """In the child: the terminal is its session's."""
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.hang_up()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        if self.slave is not None:
            os.close(self.slave)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, columns, 0, 0))

    def follows(self, rows, columns):
        """Waits until a shell that runs here has the window's new size, of
        which the kernel tells the program."""
        self.resize(rows, columns)
        until = time.monotonic() + SECONDS
        while self.ask("stty size") != f"{rows} {columns}\n":
            assert time.monotonic() < until, "the old size stays"

    def send(self, text):
        os.write(self.master, text.encode())

    def read(self, until):
        """Some more of what the program writes; False: it was time."""
        ready, _, _ = select.select([self.master], [], [],
                                    max(0, until - time.monotonic()))
        if not ready:
            return False
        try:
            self.seen += os.read(self.master, 65536)
        except OSError:
            return False
        return True

    def expect(self, pattern, seconds=SECONDS):
        """The match of a regular expression in what was not expected yet."""
        until = time.monotonic() + seconds
        while True:
            found = re.search(pattern.encode(), self.seen, re.S)
            if found:
                self.seen = self.seen[found.end():]
                return found
            if not self.read(until):
                raise AssertionError(f"{pattern!r} was not seen: "
                                     f"{self.seen!r}")

    def ask(self, command, seconds=SECONDS):
        """What a shell that runs here answers to one line."""
        self.send(f"echo \"<<\"; {command}; echo \">>\"\r")
        found = self.expect(r"<<\r?\n(.*?)>>\r?\n", seconds).group(1)
        return found.decode("utf-8", "replace").replace("\r\n", "\n")

    def await_program(self, name, above=None, seconds=SECONDS):
        """Until a program of this name runs below, or below another process:
        a shell has given it the terminal by then."""
        until = time.monotonic() + seconds
        while name not in map(proc.program, proc.descendants(
                above or self.process.pid)):
            assert time.monotonic() < until, f"no {name} runs"
            time.sleep(0.02)

    def is_restored(self):
        """Whether the terminal is as it was."""
        return termios.tcgetattr(self.slave) == self.before

    def hang_up(self):
        if self.master is not None:
            os.close(self.master)
            self.master = None

    def wait(self, seconds=SECONDS):
        """The exit status.  What is still written is read meanwhile: nobody
        who reads no more is to hold a program up."""
        until = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < until:
            if self.master is None:
                time.sleep(0.02)
            else:
                self.read(min(until, time.monotonic() + 0.05))
        return self.process.wait(0.1)
