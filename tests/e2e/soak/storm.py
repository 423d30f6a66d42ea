"""The killing: who dies, when, from a seed; and how soon all is well again."""
import collections
import os
import pathlib
import random
import re
import signal
import time

from lib import fcgi, host as host_room, proc
from soak import traffic

BACK_SECONDS = 2.0
UNIT = pathlib.Path(__file__).parents[3] / "conf/fcgi-host.service.in"
# So long systemd waits before it starts a host again that was killed.
RESTART_SECONDS = int(re.search(r"^RestartSec=(\d+)ms$", UNIT.read_text(),
                                re.M)[1]) / 1000
TORN = b'{"v":1,"seq":7,"type":"exec","ti'


class Storm:
    """One kill after the other, and after each the wait until all is well."""

    def __init__(self, soak):
        self.soak, self.host = soak, soak.host
        self.rng = random.Random(f"{soak.seed} storm")
        self.counts = collections.Counter()
        self.back = collections.defaultdict(list)  # {victim: [seconds]}
        self.gone = []  # seconds until nothing ran after the spawner's end
        self.lap = 0

    # What goes on in a strict time, in a calm as well, and what kills a role.
    STRICT = ("reload", "reload_bad", "rotate", "replace", "replace",
              "restart", "stop_role")
    CALM = ("init", "program", "stop_instance", "pause_instance",
            "reload", "reload_bad",
            "rotate", "replace", "replace")
    ROLES = ("gateway", "gateway", "gateway", "scanner", "spawner",
             "gateway_torn", "spawner_torn", "both", "stop_role", "restart",
             "gateway_again", "spawner_again", "restart_killed")

    def run(self):
        """Until the soak is over."""
        phases = {"storm": self.CALM + self.ROLES, "strict": self.STRICT,
                  "calm": self.CALM}
        last, deck = None, []  # shuffled: a short soak has something of all
        while True:
            self.soak.wait(0.1 + self.rng.random())
            if self.soak.is_over:
                return
            phase = self.soak.phase()
            if not deck or phase != last:
                last, deck = phase, list(phases[phase])
                self.rng.shuffle(deck)
            act = deck.pop()
            try:
                self.act(act)
            except Exception as error:
                self.soak.sheet.blame(f"{act}: {error!r}")

    def act(self, name):
        self.lap += 1
        if getattr(self, name)():
            self.counts[name] += 1

    # ------------------------------------------------------------- to be well

    def wait_back(self, victim, url, since):
        """Asks until the answer is whole and right; enters the time."""
        while True:
            nonce = f"p{self.rng.getrandbits(64):016x}"
            try:
                answer = fcgi.fetch(self.host.socket,
                                    f"{url}?head&raw={nonce}", timeout=1)
                is_back = answer.is_complete and answer.text == nonce
            except (*traffic.GONE, TimeoutError):
                is_back = False
            took = time.monotonic() - since
            if is_back:
                break
            if took > 20:
                self.soak.sheet.blame(f"after the end of {victim} {url} "
                                      "never came back")
                return
            time.sleep(0.005)
        self.enter(victim, took)

    def enter(self, victim, took):
        self.back[victim].append(took)
        if took > self.soak.back_seconds:
            self.soak.sheet.blame(f"after the end of {victim} the service "
                                  f"was back in {took:.2f} s only")

    @staticmethod
    def strike(pid, is_right, number=signal.SIGKILL):
        """A signal to a process that is still the one that was meant."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            if not is_right(pid):
                return False
            signal.pidfd_send_signal(handle, number)
            return True
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)

    # ------------------------------------------------------------------ roles

    def role(self, name, number=signal.SIGKILL):
        pid = self.host.roles().get(name)
        return pid if pid and self.strike(
            pid, lambda p: proc.program(p) == f"fcgi-host-{name}", number) \
            else None

    def gateway(self):
        if self.role("gateway") is None:
            return False
        self.wait_back("gateway", "/fn/probe", time.monotonic())
        return True

    def gateway_torn(self):
        """Its last line is torn; nobody may come in between."""
        if self.role("spawner", signal.SIGSTOP) is None:
            return False
        try:
            pid = self.role("gateway")
            since = time.monotonic()
            if pid:
                host_room.wait_gone([pid])
                self.tear()
        finally:
            self.role("spawner", signal.SIGCONT)
        if pid:
            self.wait_back("gateway", "/fn/probe", since)
        return pid is not None

    def tear(self):
        with open(self.host.accounting, "ab") as log:
            log.write(TORN)

    def gateway_again(self):
        """Its successor, too, while it settles what the first one left."""
        first = self.role("gateway")
        if first is None:
            return False
        until = time.monotonic() + 5
        while self.host.roles().get("gateway") in (None, first):
            if time.monotonic() > until:
                self.soak.sheet.blame("no gateway follows")
                return False
            time.sleep(0.001)
        time.sleep(self.rng.random() * 0.01)
        self.role("gateway")
        self.wait_back("gateway", "/fn/probe", time.monotonic())
        return True

    def scanner(self):
        """Well again is: what is dropped now is served."""
        if self.role("scanner") is None:
            return False
        since = time.monotonic()
        name = f"dropped{self.lap}"
        self.host.add(f"{name}.cgi", self.soak.programs.cgi)
        self.wait_back("scanner", f"/fn/{name}", since)
        (self.host.functions / f"{name}.cgi").unlink()
        return True

    def both(self):
        is_one = self.role("gateway") is not None
        is_two = self.role("scanner") is not None
        if is_one or is_two:
            self.wait_back("gateway and scanner", "/fn/probe",
                           time.monotonic())
        return is_one and is_two

    def kill_host(self):
        """With the spawner everything ends at once."""
        below = proc.descendants(self.host.pid)
        self.host.process.kill()
        since = time.monotonic()
        self.host.process.wait(10)
        left = host_room.wait_gone(below, 5)
        self.gone.append(time.monotonic() - since)
        if left:
            self.soak.sheet.blame("the spawner is dead, and these live on: "
                                  f"{[(p, proc.program(p)) for p in left]}")

    def spawner(self, is_torn=False):
        """The next one takes over, when systemd would start it."""
        since = time.monotonic()
        self.kill_host()
        if is_torn:
            self.tear()
        time.sleep(RESTART_SECONDS)
        self.host.start()
        self.wait_back("spawner", "/fn/probe", since)
        return True

    def spawner_again(self):
        """The next one, too, at any moment of its start."""
        self.kill_host()
        self.host.launch()
        time.sleep(self.rng.random() * 0.2)
        return self.spawner()

    def restart(self, is_killed=False):
        """As an administrator does it: what runs finishes, the others wait."""
        self.host.process.send_signal(signal.SIGTERM)
        if is_killed:
            time.sleep(self.rng.random() * 0.1)
            self.role("gateway")
        code = self.host.process.wait(40)
        if code != 0:
            self.soak.sheet.blame(f"the host ends with {code}")
        since = time.monotonic()
        self.host.start()
        self.wait_back("restart", "/fn/probe", since)
        return True

    def restart_killed(self):
        """Its gateway dies on the way."""
        return self.restart(True)

    def spawner_torn(self):
        """Its last line is torn."""
        return self.spawner(True)

    def stop_role(self):
        """One that is stopped for a moment misses nothing."""
        name = self.rng.choice(("gateway", "scanner", "spawner"))
        if self.role(name, signal.SIGSTOP) is None:
            return False
        time.sleep(self.rng.random() * 0.3)
        self.role(name, signal.SIGCONT)
        return True

    # -------------------------------------------------------------- instances

    def instance(self, number=signal.SIGKILL, is_init=False):
        """A signal to an init, or to what it runs."""
        inits, programs = [], []
        for pid in self.host.instances():
            facts = proc.stat(pid)
            if facts:
                (inits if facts[2] == self.host.pid else
                 programs).append(pid)
        candidates = inits if is_init else programs
        if not candidates:
            return False
        below = set(proc.descendants(self.host.pid))
        return self.strike(self.rng.choice(candidates),
                           lambda p: p in below and
                           p in proc.descendants(self.host.pid), number)

    def well(self, victim):
        """Whoever it was, all functions answer."""
        since = time.monotonic()
        for name in traffic.FUNCTIONS + traffic.STEADY:
            self.wait_back(victim, f"/fn/{name}", since)

    def init(self):
        if not self.instance(is_init=True):
            return False
        self.well("init")
        return True

    def program(self):
        if not self.instance():
            return False
        self.well("program")
        return True

    def stop_instance(self):
        """It is ended at its deadline, and not continued by anybody else."""
        return self.instance(signal.SIGSTOP, self.rng.random() < 0.3)

    def pause_instance(self):
        """One that is only slow is not to be noticed."""
        candidates = self.host.instances()
        pid = self.rng.choice(candidates) if candidates else None
        below = set(proc.descendants(self.host.pid))
        if pid is None or not self.strike(pid, below.__contains__,
                                          signal.SIGSTOP):
            return False
        time.sleep(self.rng.random() * 0.5)
        self.strike(pid, set(proc.descendants(self.host.pid)).__contains__,
                    signal.SIGCONT)
        return True

    # --------------------------------------------------------- administrators

    def verb(self, name, is_good=True):
        done = self.host.verb(name)
        if (done.returncode == 0) != is_good:
            self.soak.sheet.blame(f"{name} ends with {done.returncode}: "
                                  f"{done.stdout}{done.stderr}")
        return True

    def reload(self):
        self.host.configure({"defaults": {"queue": str(60 + self.lap % 9)}})
        return self.verb("reload")

    def reload_bad(self):
        self.host.configure({"defaults": {"nonsense": "1"}})
        self.verb("reload", False)
        del self.host.sections["defaults"]["nonsense"]
        self.host.configure({})
        return True

    def rotate(self):
        self.soak.ledger.rotate(self.host.log_dir / f"old.{self.lap:05}")
        return self.verb("reopen")

    def replace(self):
        name = self.rng.choice(("c.cgi", "f.fcgi", "tenant/c.cgi", "zero.cgi",
                                "steady/c.cgi", "steady/f.fcgi"))
        source = self.soak.programs.fcgi if name.endswith("fcgi") else \
            self.soak.programs.cgi
        self.host.add(name, source.read_bytes() + b"%d" % self.lap)
        return True
