"""The accounting log, over rotations and runs, read while it grows."""
import collections
import json
import threading

TORN_US = 20000


class Ledger:
    """All records so far: by request, by outcome, and each run's seq."""

    def __init__(self, path, blame):
        self.path, self.blame = path, blame
        self.lock = threading.Lock()
        self.files = [[path, 0]]  # in order, with what is read of each
        self.requests = collections.defaultdict(list)
        self.ids = set()
        self.outcomes = collections.Counter()
        self.runs = []  # {"run", "seq", "charged"}
        self.count = 0
        self.killed = []  # runs that did not end well so far
        self.charged = self.total = self.before = 0

    def rotate(self, place):
        """Renames the log; what comes goes on in the old file until the host
        has been told."""
        with self.lock:
            self.path.rename(place)
            self.files[-1][0] = place
            self.files.append([self.path, 0])

    def holds(self, request_id):
        """Whether its line is in the log right now."""
        needle = b'"' + request_id.encode() + b'"'
        with self.lock:  # also while it looks: a rotation moves the line
            return request_id in self.requests or any(
                needle in self._more(*one) for one in self.files[-2:])

    @staticmethod
    def _more(path, at):
        try:
            with open(path, "rb") as log:
                log.seek(at)
                data = log.read()
        except FileNotFoundError:
            return b""
        return data[:data.rfind(b"\n") + 1]

    def read(self):
        """Takes the whole lines that came since.  The newest file is read
        first: once a line is in it, those before have all of theirs."""
        with self.lock:
            news = [self._more(*entry) for entry in reversed(self.files)]
            for entry, data in zip(self.files, reversed(news)):
                entry[1] += len(data)
                for line in data.splitlines():
                    self._take(line)
            # the last two may still be written to
            del self.files[:-2]

    def _take(self, line):
        try:
            record = json.loads(line)
        except ValueError:
            self.blame(f"a line that is no record: {line[:200]!r}")
            return
        self.count += 1
        kind = record["type"]
        if kind == "host" and record["event"] == "start":
            if self.killed:  # since the last that ended well, all in one
                self._balance(sum(run["charged"] for run in self.killed) +
                              record.get("lost_cpu_us", 0),
                              record.get("cgroup_cpu_us"), record["run"])
                self.killed[-1]["charged"] += record.get("lost_cpu_us", 0)
                self.before = record.get("cgroup_cpu_us", 0)
            self.runs.append({"run": record["run"], "seq": 0, "charged": 0})
            self.killed.append(self.runs[-1])
        run = self.runs[-1]
        if record["seq"] != run["seq"] + 1:
            self.blame(f"seq {record['seq']} follows {run['seq']} in the "
                       f"run {run['run']}")
        run["seq"] = record["seq"]
        getattr(self, f"_take_{kind}")(run, record)

    def _take_exec(self, run, record):
        if record["id"] in self.ids:
            self.blame(f"the execution {record['id']} is recorded twice")
        self.ids.add(record["id"])
        self.outcomes[record["outcome"]] += 1
        self.requests[record["request_id"]].append(
            (record["id"], record["outcome"]))
        run["charged"] += record["cpu_us"]

    @staticmethod
    def _take_instance(run, record):
        run["charged"] += record["start_cpu_us"] + record["idle_cpu_us"]

    def _take_host(self, run, record):
        if record["event"] == "restart":
            run["charged"] += record.get("lost_cpu_us", 0)
        elif record["event"] == "stop":
            total = record.get("cgroup_cpu_us")
            self._balance(run["charged"], total, run["run"])
            self.charged += sum(one["charged"] for one in self.killed)
            self.total += self.before + (total or 0)
            self.killed, self.before = [], 0

    def _balance(self, charged, total, run):
        """Within 1 %, and what a kill tore out of a batch; where there is no
        clock nothing is claimed."""
        if total is not None and abs(charged - total) > 0.01 * total + TORN_US:
            self.blame(f"the books up to the run {run} do not balance: "
                       f"{charged} us in records, {total} in all")
