"""Reading the accounting log."""
import json
import os
import time


class Books:
    """The records of one log file, in order; looks again when asked."""

    def __init__(self, path):
        self.path = str(path)

    def lines(self):
        try:
            with open(self.path, "rb") as log:
                data = log.read()
        except FileNotFoundError:
            return []
        return data.splitlines(keepends=True)

    def all(self):
        """Every whole line as a dict; a line that is not JSON is an error.
        A last line without its newline is still being written."""
        return [json.loads(line) for line in self.lines()
                if line.endswith(b"\n")]

    def of_type(self, kind):
        return [r for r in self.all() if r["type"] == kind]

    def executions(self, function=None):
        return [r for r in self.of_type("exec")
                if function is None or r["function"] == function]

    def by_request(self, request_id):
        return [r for r in self.of_type("exec")
                if r["request_id"] == request_id]

    def holds(self, request_id):
        """True when a whole line with that id is in the file right now;
        cheaper than parsing everything."""
        with open(self.path, "rb") as log:
            size = os.fstat(log.fileno()).st_size
            log.seek(max(0, size - 262144))
            data = log.read()
        needle = b'"' + request_id.encode() + b'"'
        return any(needle in line and line.endswith(b"\n")
                   for line in data.splitlines(keepends=True))

    def wait(self, claim, timeout=30, what="a record"):
        """The first record for which claim(record) holds."""
        until = time.monotonic() + timeout
        while True:
            for one in self.all():
                if claim(one):
                    return one
            if time.monotonic() > until:
                tail = b"".join(self.lines()[-5:]).decode("utf-8", "replace")
                raise AssertionError(f"no {what} in {timeout} s; the log "
                                     f"ends with:\n{tail}")
            time.sleep(0.01)

    def wait_request(self, request_id, timeout=30):
        """The one execution record of a request."""
        self.wait(lambda r: r["type"] == "exec" and
                  r["request_id"] == request_id, timeout,
                  f"record of request {request_id}")
        found = self.by_request(request_id)
        assert len(found) == 1, f"{len(found)} records for {request_id}"
        return found[0]


def runs(records):
    """The records of each run, by its first host record."""
    found = []
    for record in records:
        if record["type"] == "host" and record["event"] == "start":
            found.append([])
        found[-1].append(record)
    return found


def check_seq(records, starts_at_one=False):
    """seq has no gap and no double within one run of the host."""
    seqs = [r["seq"] for r in records]
    assert seqs, "no records"
    expected = list(range(seqs[0], seqs[0] + len(seqs)))
    if seqs != expected:
        wrong = [(i, a, b) for i, (a, b) in enumerate(zip(seqs, expected))
                 if a != b][:3]
        raise AssertionError(f"seq is not whole: (line, is, expected) {wrong}")
    if starts_at_one:
        assert seqs[0] == 1, f"the first seq is {seqs[0]}"


def cpu_of(record):
    """The processor time that a record adds to its run's."""
    if record["type"] == "exec":
        return record["cpu_us"]
    if record["type"] == "instance":
        return record["start_cpu_us"] + record["idle_cpu_us"]
    return record.get("lost_cpu_us", 0) if record["event"] != "start" else 0


def balances(records):
    """(event, recorded, open, clock) of each host record of a run that tells
    what the clock of all instances showed."""
    found, sum_us = [], 0
    for record in records:
        sum_us += cpu_of(record)
        if record["type"] == "host" and record["event"] != "start" and \
                "cgroup_cpu_us" in record:
            found.append((record["event"], sum_us, record["open_cpu_us"],
                          record["cgroup_cpu_us"]))
    return found


def impossible(records, cores):
    """Records of more processor time than there was."""
    return [r for r in records if r["type"] == "exec" and
            r["cpu_us"] > cores * r["run_us"] + 20000]
