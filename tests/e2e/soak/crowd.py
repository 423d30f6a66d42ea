"""Many small requests beside all others: so many that a gap, a double or a loss
which comes once in a million executions is met."""
import json
import subprocess
import threading
import time

from soak.sheet import UNKNOWN, WHOLE

URL = "/fn/steady/f"
LAP_SECONDS = 1.0
CONNECTIONS = 8


class Crowd(threading.Thread):
    """The load generator of `make bench`, again and again: `count` requests over
    the soak's seconds, a part of them each second."""

    def __init__(self, soak, program, count):
        super().__init__(daemon=True, name="the crowd")
        self.soak, self.program, self.count = soak, program, count
        self.list = soak.host.dir / "crowd.list"
        self.sent = self.answered = self.laps = 0

    def run(self):
        while not self.soak.is_over and self.sent < self.count:
            part = (time.monotonic() - self.soak.since + LAP_SECONDS) / \
                self.soak.seconds
            due = min(self.count, int(self.count * part * 1.05)) - self.sent
            try:
                if due > 0:
                    self.lap(due)
            except Exception as error:
                self.soak.sheet.blame(f"the crowd: {error!r}")
            self.soak.wait(LAP_SECONDS / 5)

    def lap(self, count):
        is_strict = self.soak.is_strict()
        self.laps += 1  # in each id: the number of a process comes again
        done = subprocess.run(
            [self.program, "-c", str(CONNECTIONS), "-k", "-n", str(count),
             "-T", "20", "-o", self.list, "-I",
             self.soak.host.socket, f"SCRIPT_NAME={URL}",
             f"REQUEST_ID={self.laps}-#i", "QUERY_STRING=head&raw=#i"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            timeout=120, check=False)
        if done.returncode not in (0, 1):
            raise AssertionError(f"{done.returncode}: {done.stderr[-300:]}")
        faults = json.loads(done.stdout)["faults"]
        self.take()
        if is_strict and self.soak.is_strict() and faults["all"] > 0:
            self.soak.sheet.blame("the crowd: not answered although nothing "
                                  f"was killed: {faults}")

    def take(self):
        """Enters what came of each.  A wrong body is nobody's excuse; whatever
        else went wrong was cut, or refused in the storm."""
        with open(self.list, encoding="ascii") as lines:
            for line in lines:
                number, came = line.split()
                request_id = f"{self.laps}-{number}"
                self.sent += 1
                self.answered += came == "ok"
                if came == "body":
                    self.soak.sheet.blame(f"the crowd: another answer for "
                                          f"{request_id}")
                self.soak.sheet.add(request_id, WHOLE if came == "ok" else
                                    UNKNOWN, "crowd", 200 if came == "ok" else
                                    None)
        self.list.unlink()
