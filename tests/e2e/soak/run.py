"""One soak from its seed to its judgement."""
import statistics
import sys
import threading
import time

from lib import leaks, proc, servers
from soak import crowd, ledger, sheet, storm, traffic

NGINX_NAMES = "add_header X-Request-Id $request_id always;"
NGINX = {"plain_more": NGINX_NAMES,
         "kept_more": NGINX_NAMES + " fastcgi_next_upstream off;",
         "stream_more": NGINX_NAMES}
SECTIONS = {# its own tenants: another test's thousand instances would count
            # against their processes
            "host": {"uid_range": "1950000000-1950000099"},
            "defaults": {"timeout": "1s", "abort_grace": "50ms",
                         "idle": "500ms", "instances": "4"},
            "function zero": {"idle": "0"},
            # well below HUNG_SECONDS: a stopped one is ended
            "tenant steady": {"timeout": "10s"}}
RAW_CLIENTS, WEB_CLIENTS = 10, 5
# Of the time: after the storm nothing is killed for a while, which excuses
# nothing, and then no role, so that it can be seen whether they grow.
STRICT_FROM, CALM_FROM = 0.6, 0.75
STRICT_PAUSE = 3 # until what was killed or stopped before is over
GROWN_KIB_MAX = 1536 # of a role in the calm
REPORT_SECONDS = 5


def functions(programs):
    return {"c.cgi": programs.cgi, "f.fcgi": programs.fcgi,
            "zero.cgi": programs.cgi, "probe.cgi": programs.cgi,
            "tenant/c.cgi": programs.cgi, "tenant/f.fcgi": programs.fcgi,
            "steady/c.cgi": programs.cgi, "steady/f.fcgi": programs.fcgi}


class Soak:
    """host: started, with `functions`; nginx: with NGINX in front of it."""

    def __init__(self, host, nginx, programs, seconds, seed, executions,
                 pause=0.02, back_seconds=storm.BACK_SECONDS,
                 least=0.99, out=sys.stdout):
        self.host, self.nginx, self.programs = host, nginx, programs
        self.least = least  # the share of `executions` that must be sent
        self.seconds, self.seed, self.pause = seconds, seed, pause
        self.back_seconds, self.out = back_seconds, out
        self.sheet = sheet.Sheet()
        self.ledger = ledger.Ledger(host.accounting, self.sheet.blame)
        self.storm = storm.Storm(self)
        self.crowd = crowd.Crowd(self, programs.fcgi_load, executions)
        self.since = self.until = 0.0
        self.sizes = []  # (is it calm, {role: KiB})
        self.grown = {}

    def phase(self):
        """storm, strict or calm."""
        part = (time.monotonic() - self.since) / self.seconds
        return "calm" if part >= CALM_FROM else \
            "strict" if part >= STRICT_FROM else "storm"

    def is_strict(self):
        return self.phase() == "strict" and time.monotonic() - self.since > \
            self.seconds * STRICT_FROM + STRICT_PAUSE

    @property
    def is_over(self):
        return time.monotonic() >= self.until or \
            self.sheet.on_problem.is_set()

    def wait(self, seconds):
        self.sheet.on_problem.wait(
            max(0, min(seconds, self.until - time.monotonic())))

    def say(self, text):
        print(text, file=self.out, flush=True)

    # ----------------------------------------------------------------- a rest

    def rest(self):
        """Every function has been used, and what is left is prepared."""
        names = (*traffic.FUNCTIONS, *traffic.STEADY, "probe")
        for name in names:
            self.host.wait_served(f"/fn/{name}?head", 10)
        self.host.wait_prepared(len(names))

    # ------------------------------------------------------------ looking on

    def look(self):
        self.ledger.read()
        sizes = {}
        for role, pid in self.host.roles().items():
            try:
                sizes[role] = proc.pss_kib(pid)
            except (OSError, AssertionError):
                pass  # it was just killed
        self.sizes.append((self.phase() == "calm", sizes))
        counts = self.sheet.counts
        back = [t for times in self.storm.back.values() for t in times]
        self.say(f"t={time.monotonic() - self.since:.0f}s {self.phase()} "
                 f"whole={counts[sheet.WHOLE]} "
                 f"shown={counts[sheet.SHOWN]} begun={counts[sheet.BEGUN]} "
                 f"nothing={counts[sheet.UNKNOWN]} "
                 f"records={self.ledger.count} "
                 f"lost={self.ledger.outcomes['lost']} "
                 f"kills={sum(self.storm.counts.values())} "
                 f"back_max={max(back, default=0):.2f}s "
                 f"pss_kib={sizes}")

    def look_on(self):
        step = min(REPORT_SECONDS, self.seconds / 10)
        while not self.is_over:
            self.wait(step)
            self.look()

    def go(self):
        """The load and the storm, for the time."""
        self.since = time.monotonic()
        self.until = self.since + self.seconds
        clients = [traffic.RawClient(self, n) for n in range(RAW_CLIENTS)] + \
            [traffic.WebClient(self, n) for n in range(WEB_CLIENTS)]
        threads = [*clients, self.crowd, threading.Thread(
            target=self.look_on, daemon=True)]
        for thread in threads:
            thread.start()
        # in this thread: a host ends with the thread that started it
        self.storm.run()
        for thread in threads:
            thread.join(60)
            if thread.is_alive():
                self.sheet.blame(f"{thread.name} does not end")

    # --------------------------------------------------------------- the end

    def judge_sizes(self):
        """Growth of each role within the calm, early against late."""
        if self.host.installed.is_sanitized:
            return # what was freed is kept for a while
        calm = [sizes for is_calm, sizes in self.sizes if is_calm]
        third = max(1, len(calm) // 3)
        for role in ("gateway", "spawner", "scanner"):
            early = [s[role] for s in calm[:third] if role in s]
            late = [s[role] for s in calm[-third:] if role in s]
            if not early or not late:
                continue
            self.grown[role] = statistics.median(late) - \
                statistics.median(early)
            if self.grown[role] > GROWN_KIB_MAX:
                self.sheet.blame(f"the {role} grew by {self.grown[role]} KiB")

    def run(self):
        """All of it; the list of what was wrong."""
        self.say(f"soak: seed={self.seed} seconds={self.seconds}")
        self.rest()
        before = leaks.at_rest(self.host)
        mounts = proc.mounts("self")
        self.go()
        if not self.sheet.problems:
            self.end(before, mounts)
        self.summarize()
        if self.sheet.problems:
            tail = [line for line in self.host.log().splitlines()
                    if "event=execution " not in line][-30:]
            self.say("\n".join([f"soak: SEED {self.seed}; the host's log "
                                "ends, but for executions, with:", *tail]))
        return self.sheet.problems

    def end(self, before, mounts):
        """Nothing is left, then the host ends, and the books are judged."""
        self.nginx.stop() # it keeps connections
        try:
            self.rest()
            leaks.settle(self.host, before, 20)
            self.host.stop()
        except (AssertionError, OSError) as error:
            self.sheet.blame(f"at the end: {error!r}")
            return
        if "connect() to" in self.nginx.error_log():
            self.sheet.blame("nginx could not connect; see its error.log")
        if proc.mounts("self") != mounts:
            self.sheet.blame("mounts are left")
        if (self.host.run_dir / "inflight").exists():
            self.sheet.blame("the table of executions in flight is left")
        self.ledger.read()
        self.sheet.judge(self.ledger.requests)
        if self.crowd.sent < self.crowd.count * self.least:
            self.sheet.blame(f"the crowd sent {self.crowd.sent} requests of "
                             f"{self.crowd.count}: give it more seconds")
        self.judge_sizes()

    def summarize(self):
        counts, storms = self.sheet.counts, self.storm.counts
        rows = [("answers with their end", counts[sheet.WHOLE]),
                ("shown as whole by nginx", counts[sheet.SHOWN]),
                ("begun and cut", counts[sheet.BEGUN]),
                ("without an answer", counts[sheet.UNKNOWN]),
                ("strictly 200, and were", counts["strict"]),
                ("of the crowd, and answered", f"{self.crowd.sent}, "
                 f"{self.crowd.answered}"),
                ("records", self.ledger.count),
                ("outcomes", dict(self.ledger.outcomes)),
                ("statuses", {k[7:]: v for k, v in sorted(counts.items())
                              if k.startswith("status ")}),
                ("runs of the host", len(self.ledger.runs)),
                ("acts of the storm", dict(sorted(storms.items())))]
        for victim, times in sorted(self.storm.back.items()):
            rows.append((f"back after {victim}", spread(times)))
        if self.storm.gone:
            rows.append(("nothing runs after spawner",
                         spread(self.storm.gone)))
        if self.ledger.total:
            rows.append(("processor time, us", f"{self.ledger.charged} in "
                         f"records, {self.ledger.total} in all"))
        rows.append(("grown in the calm, KiB", self.grown))
        for role in ("gateway", "spawner", "scanner"):
            most = [sizes[role] for _, sizes in self.sizes if role in sizes]
            rows.append((f"PSS of {role} at most, KiB", max(most, default=0)))
        rows += [("PROBLEM", text) for text in self.sheet.problems[:10]]
        self.say("\n" + "\n".join(f"{name:30} {value}"
                                  for name, value in rows))
        self.say("soak: " + ("BROKEN" if self.sheet.problems else
                             "no answer without its record, none twice, "
                             "nothing left") + f" (seed {self.seed})")


def spread(times):
    return f"{len(times)} times, median {statistics.median(times):.3f} s, " \
        f"max {max(times):.3f} s"


def hold_socket(host):
    """Before its start: the socket is the service manager's, as with a .socket
    unit, so that it outlives every host; and so do kept connections."""
    host.manager.stores = True
    host.manager.hold("fcgi-host.socket", host.socket)


def start_nginx(host):
    return servers.Nginx(host, **NGINX).start()
