"""The runtimes of functions/: in a host's sandboxes, and by themselves."""
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from lib import fcgi, programs

SAMPLE = programs.TREE / "conf/fcgi-host.ini.in"
# Scripts run from the tree; what is compiled lies in the build.
SCRIPTS = ("node", "php")


def section(name):
    """[runtime NAME] as the sample configuration has it."""
    found = re.search(rf"^\[runtime {name}\]\n(?:(?!\[).+\n)*",
                      SAMPLE.read_text(), re.MULTILINE)
    assert found, f"no [runtime {name}] in {SAMPLE}"
    return found.group()


class Place:
    """A folder with the runtimes that is not below one of a sandbox's own."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-runtimes-",
                                                 dir="/var/lib"))
        self.dir.chmod(0o755)
        for name in SCRIPTS:
            shutil.copytree(programs.TREE / "functions" / name,
                            self.dir / name)

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def fill(self, text):
        """Text of the sample with the place filled in."""
        return text.replace("@runtimesdir@", str(self.dir)).replace(
            "@runtimesbind@", f"bind = {self.dir}")

    def sections(self, *names):
        return "\n" + "\n".join(self.fill(section(name)) for name in names)


class Direct:
    """A runtime's program without a host: a listening socket is its
    descriptor 0, and what it says is in a file."""

    def __init__(self, command, **env):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-", dir="/tmp"))
        self.path = str(self.dir / "s")
        self.said = self.dir / "said"
        self.heard = 0  # what a test has no interest in any more
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(16)
        with listener, open(self.said, "ab") as said:
            self.process = subprocess.Popen(
                command, stdin=listener, stdout=said, stderr=said, cwd="/",
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **env},
                start_new_session=True, preexec_fn=programs.end_with_parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        return self.said.read_text("utf-8", "replace")

    def connect(self):
        return fcgi.Connection(self.path)

    def fetch(self, url, body=b"", **extra):
        return fcgi.fetch(self.path, url, body, **extra)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=30):
        """Its exit code; negative: a signal's number."""
        return self.process.wait(timeout)

    def environ(self):
        return pathlib.Path(f"/proc/{self.process.pid}/environ").read_bytes()
