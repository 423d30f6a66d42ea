"""One User Mode Linux: its disks, its console, its results, its end."""
import ctypes
import os
import pathlib
import re
import shutil
import signal
import subprocess
import termios
import time

PR_SET_PDEATHSIG = 1
PRCTL = ctypes.CDLL(None).prctl
MEMORY_MIB = 1024
OUT_BYTES = 16 << 20
COLOURS = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]|\x1bM|\r")


def end_with_parent():
    """In the forked child: the machine does not outlive who started it."""
    PRCTL(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def memory_place(count, fallback):
    """Where User Mode Linux keeps the machines' memory, a file that it maps
    executable: /dev/shm, but not a small one, as containers have."""
    try:
        facts = os.statvfs("/dev/shm")
    except OSError:
        return fallback
    room = facts.f_bavail * facts.f_frsize
    is_good = room > count * (MEMORY_MIB << 20) and \
        not facts.f_flag & os.ST_NOEXEC
    return "/dev/shm" if is_good else fallback


def module(name):
    """A module of the machines' kernel: of linux.uml's own version."""
    version = subprocess.run(["linux.uml", "--version"], check=True, text=True,
                             stdout=subprocess.PIPE).stdout.strip()
    return f"/usr/lib/uml/modules/{version}/{name}"


class Machine:
    """directory: its own, which is made; base: the root image, which is only
    read; job: a tar archive that the machine unpacks at its root; disks: further
    ones, the machine's ubdd and ubde."""

    def __init__(self, directory, base, job, disks=()):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir()
        self.base, self.job, self.disks = base, job, disks
        self.process = None
        self.results = self.console = -1
        self.lines = []        # the last ones of the console
        self.half = {}         # what came after a descriptor's last newline
        self.doing = "starting"
        self.heard = time.monotonic()
        self.is_whole = False  # it has said how many tests it has run

    def command(self, *more):
        with open(self.dir / "out.img", "wb") as out:
            out.truncate(OUT_BYTES)
        # what the root image would change goes to a file beside it
        return ["linux.uml", f"ubda={self.dir}/root.cow,{self.base}",
                f"ubdbr={self.job}", f"ubdc={self.dir}/out.img",
                *(f"ubd{letter}={disk}"
                  for letter, disk in zip("de", self.disks)),
                f"mem={MEMORY_MIB}M", "root=/dev/ubda", "rw", "con=null",
                *more]

    def start(self, place, *words):
        """place: for its memory; words: of its kernel's command line."""
        self.results, results = os.pipe()
        self.console, console = os.pipe()
        self.process = subprocess.Popen(
            self.command("con0=null,fd:1", f"ssl0=null,fd:{results}",
                         "ssl=null", *words),
            stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            pass_fds=[results], start_new_session=True,
            env={"PATH": os.environ["PATH"], "TMPDIR": str(place),
                 "HOME": str(self.dir)},
            preexec_fn=end_with_parent)
        os.close(results)
        os.close(console)

    def shell(self, place):
        """In the foreground, on this terminal."""
        is_terminal = os.isatty(0)
        before = termios.tcgetattr(0) if is_terminal else None
        try:
            return subprocess.run(
                self.command("con0=fd:0,fd:1", "ssl=null", "quiet",
                             "systemd.show_status=no", "vm=shell"),
                env={**os.environ, "TMPDIR": str(place)}, check=False,
                preexec_fn=end_with_parent).returncode
        finally:
            if is_terminal:
                termios.tcsetattr(0, termios.TCSADRAIN, before)

    def read(self, fd):
        """Whole lines of one of its two outputs; None: that one has ended."""
        data = os.read(fd, 65536)
        if not data:
            return None
        self.heard = time.monotonic()
        data = COLOURS.sub(b"", self.half.pop(fd, b"") + data)
        *lines, self.half[fd] = data.split(b"\n")
        lines = [line.decode("utf-8", "replace") for line in lines]
        if fd == self.console:
            with open(self.dir / "console.log", "a", encoding="utf-8") as log:
                log.writelines(line + "\n" for line in lines)
            self.lines = (self.lines + lines)[-400:]
        return lines

    def end(self):
        """Ends it if it runs, with all processes that it is made of."""
        if self.process is None:
            return
        until = time.monotonic() + 10
        try:
            while time.monotonic() < until:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.poll()
                time.sleep(0.05)
        except ProcessLookupError:
            pass
        self.process.wait()

    def unpack(self):
        """What the machine wrote about itself: its journal, pytest's words."""
        out = self.dir / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        subprocess.run(["tar", "-x", "-f", self.dir / "out.img", "-C", out],
                       stderr=subprocess.DEVNULL, check=False)
        (self.dir / "out.img").unlink()
        (self.dir / "root.cow").unlink(missing_ok=True)
        return out
