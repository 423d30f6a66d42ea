"""What each tier of each runtime costs in memory, and gives in time."""
import json
import re
import statistics
import time

import rows as rows_room
from lib import runtimes
from rig import HELLO, Trouble

# what a start leaves to do is done by then, as a spare of node
PAUSE_MS = 500
# runtime: a function that says hello
FUNCTIONS = {name: (what, text.replace("TEXT", HELLO.strip()))
             for name, what, text in (
    ("wsgi", "Python, handler",
     "def handler(request):\n    return 'TEXT\\n'\n"),
    ("node", "Node, fetch handler",
     "export default { fetch() { return new Response('TEXT\\n'); } };\n"),
    ("php", "PHP, page", rows_room.PHP),
    ("psgi", "Perl, PSGI",
     "sub { [200, ['Content-Type' => 'text/plain'], [\"TEXT\\n\"]] };\n"),
    ("rack", "Ruby, Rack",
     "run ->(env) { [200, { 'content-type' => 'text/plain' }, "
     "[\"TEXT\\n\"]] }\n"))}
# the name's part: (what a request finds, the state of who waits for it)
TIERS = {"prepared": ("prepared", "prepared"), "spare": ("spare", "spare"),
         "kept": ("warm", "idle")}


def suggested(name):
    """The spares that the sample configuration suggests, in a comment."""
    return dict(re.findall(r"^;(spare|preload) = (.*)$",
                           runtimes.section(name), re.MULTILINE))


def extension(name):
    return re.search(r"^extensions = (\w+)", runtimes.section(name),
                     re.MULTILINE)[1]


class Tier:
    """A host in which functions of all runtimes wait in one way, two of each, since
    they share pages."""

    def __init__(self, rig, name):
        self.rig, self.start, self.state = rig, *TIERS.get(name, ("fresh", None))
        more = "min_instances = 1\n" if name == "kept" else "idle = 0\n"
        functions = {f"{runtime}{number}": (runtime, text)
                     for runtime, (_, text) in FUNCTIONS.items()
                     for number in (1, 2)}
        self.host = rig.host(
            {f"{function}.{extension(runtime)}": text
             for function, (runtime, text) in functions.items()},
            "".join(f"[function {function}]\n{more}" for function in functions),
            {} if name in ("prepared", "spare") else {"max_prepared": 0},
            rig.installed_with(**{
                runtime: suggested(runtime) if name == "spare" else {}
                for runtime in FUNCTIONS}))

    def waiting(self, runtime):
        """The memory of those that wait, and how it is known."""
        until = time.monotonic() + 60
        while True:
            found = [one for one in json.loads(self.host.verb(
                "status", "--json").stdout)["instances"]
                if one["function"] in (f"{runtime}1", f"{runtime}2")]
            if [one["state"] for one in found] == [self.state] * 2:
                return ([one["memory_kib"] for one in found],
                        found[0]["memory_source"])
            if time.monotonic() > until:
                raise Trouble(f"{runtime} does not wait as {self.state}: "
                              f"{found}\n{self.host.log()[-2000:]}")
            time.sleep(0.1)

    def at_rest(self, runtime):
        """The same when it does not change: they have booted."""
        before, (now, source) = None, self.waiting(runtime)
        while before != now:
            time.sleep(0.5)
            before, (now, source) = now, self.waiting(runtime)
        return now, source

    def settle(self, runtime):
        for number in (1, 2):
            self.host.wait_served(f"/fn/{runtime}{number}")
        if self.state:
            self.waiting(runtime)

    def first_bytes(self, runtime, count):
        found = [us for start, us in rows_room.cold_run(
            self.rig, self.host, count, PAUSE_MS, f"{runtime}1")
            if start == self.start]
        if not found:
            raise Trouble(f"no start of {runtime} was {self.start}")
        return statistics.median(found)


def size(kib):
    return f"{kib:.0f} KiB" if kib < 1024 else f"{kib / 1024:.1f} MiB"


def measure_memory(rig, rows):
    """Each tier with nobody beside it who has the same pages."""
    for name in TIERS:
        tier = Tier(rig, name)
        for runtime in FUNCTIONS:
            tier.settle(runtime)
        for runtime in FUNCTIONS:
            kib, source = tier.at_rest(runtime)
            rows[runtime, name].notes.append(
                f"{size(statistics.mean(kib))} each while it waits ({source})")
        tier.host.stop()


def tiers(rig, times):
    """(t) the tiers of each runtime: first byte, and memory."""
    rows = {(runtime, name): rows_room.Row(
        f"first byte, {what}, {name.replace('kept', 'min_instances')}",
        "started by its request", None, " µs", True)
        for runtime, (what, _) in FUNCTIONS.items() for name in TIERS}
    measure_memory(rig, rows)
    none = Tier(rig, "none")
    ours = {name: Tier(rig, name) for name in TIERS}
    for tier in (none, *ours.values()):
        for runtime in FUNCTIONS:
            tier.settle(runtime)
    count = max(3, round(times.seconds * 3))
    for number in range(times.rounds):
        rows_room.say(f"  round {number + 1} of {times.rounds}")
        for runtime in FUNCTIONS:
            theirs = none.first_bytes(runtime, count)
            for name, tier in ours.items():
                rows[runtime, name].add(tier.first_bytes(runtime, count),
                                        theirs)
    return list(rows.values())
