"""A real browser without a window: Debian's chromium, driven by its pipe."""
import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile

from . import programs

WIDTHS = (360, 768, 1280)
SCHEMES = ("light", "dark")


def high_pipe():
    """A pipe whose descriptors are none of those that the browser takes."""
    pipe = os.pipe()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in pipe]
    for fd in pipe:
        os.close(fd)
    return high


class Browser:
    """One process, one tab.  Ends with its block."""

    def __init__(self):
        program, = programs.need("chromium")
        self.dir = tempfile.mkdtemp(prefix="fh-browser-")
        read_fd, their_write = high_pipe()
        their_read, write_fd = high_pipe()
        command = [program, "--headless", "--no-sandbox", "--disable-gpu",
                   "--disable-dev-shm-usage", "--no-first-run",
                   "--disable-background-networking", "--hide-scrollbars",
                   f"--user-data-dir={self.dir}", "--remote-debugging-pipe",
                   "about:blank"]
        # it reads from descriptor 3 and writes to 4
        shell = (f"exec 3<&{their_read} 4>&{their_write}; "
                 f"exec {their_read}<&- {their_write}>&-; exec \"$@\"")
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", shell, "bash", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=(their_read, their_write),
            start_new_session=True, env={**os.environ, "HOME": self.dir})
        os.close(their_read)
        os.close(their_write)
        self.reader = os.fdopen(read_fd, "rb", buffering=1 << 16)
        self.write_fd, self.number, self.rest = write_fd, 0, b""
        self.session = None
        self.requests = []
        target = self.ask("Target.createTarget", url="about:blank")
        self.session = self.ask("Target.attachToTarget", flatten=True,
                                targetId=target["targetId"])["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.close()
        os.close(self.write_fd)
        shutil.rmtree(self.dir, ignore_errors=True)

    def message(self):
        """The next message of the browser."""
        while b"\0" not in self.rest:
            more = self.reader.read1(1 << 16)
            assert more, "the browser has ended"
            self.rest += more
        text, _, self.rest = self.rest.partition(b"\0")
        told = json.loads(text)
        if told.get("method") == "Network.requestWillBeSent":
            self.requests.append(told["params"]["request"]["url"])
        return told

    def ask(self, method, **params):
        self.number += 1
        words = {"id": self.number, "method": method, "params": params}
        if self.session:
            words["sessionId"] = self.session
        os.write(self.write_fd, json.dumps(words).encode() + b"\0")
        while True:
            told = self.message()
            if told.get("id") == self.number:
                assert "error" not in told, (method, told["error"])
                return told["result"]

    def evaluate(self, expression):
        result = self.ask("Runtime.evaluate", expression=expression,
                          returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def look(self, width, scheme):
        """The window's width, and light or dark."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900,
                 deviceScaleFactor=1, mobile=False)
        self.ask("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme}])

    def open(self, path):
        self.requests.clear()
        self.ask("Page.navigate", url=f"file://{path}")
        while self.message().get("method") != "Page.loadEventFired":
            pass

    def picture(self):
        """PNG of the whole page."""
        return base64.b64decode(self.ask("Page.captureScreenshot",
                                         captureBeyondViewport=True)["data"])

    def printed(self):
        """PDF of the page, in the size that it asks for."""
        return base64.b64decode(self.ask("Page.printToPDF",
                                         preferCSSPageSize=True)["data"])


def pixels(png):
    """(width, height, bytes: three for each pixel) of a picture."""
    width, height = (int.from_bytes(png[i:i + 4], "big") for i in (16, 20))
    convert, = programs.need("convert")
    data = subprocess.run([convert, "png:-", "-alpha", "off", "-depth", "8",
                           "rgb:-"], input=png, check=True,
                          stdout=subprocess.PIPE).stdout
    assert len(data) == 3 * width * height
    return width, height, data
