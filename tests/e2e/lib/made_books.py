"""Accounting logs that no host wrote: lines from a seed, and what they sum up to."""
import collections
import datetime
import json
import random

RUN = 0x64290a7e3b1c5
START = datetime.datetime(2026, 10, 30, 22, 0, tzinfo=datetime.timezone.utc)
OUTCOMES = ("ok",) * 12 + ("error", "crash", "oom", "timeout", "stalled",
                           "aborted", "refused", "lost")
NUMBERS = ("queue_us", "init_us", "run_us", "billed_ms", "mib_ms",
           "bytes_in", "bytes_out")


def stamp(when):
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def execution(rng, seq, when, run=RUN):
    outcome = rng.choice(OUTCOMES)
    tenant = rng.choice(("alice", "bob", "default"))
    start = rng.choice(("warm", "warm", "warm", "prepared", "fresh"))
    run_us, init_us = rng.randrange(300_000), 0
    if start != "warm":
        init_us = rng.randrange(90_000)
    billed = -(-(run_us + init_us) // 1000) if outcome != "refused" else 0
    limit = rng.choice((64, 128, 512))
    cpu_us = rng.randrange(run_us + 1)
    return {"v": 1, "seq": seq, "type": "exec", "time": stamp(when),
            "id": f"{run:x}-{seq}", "request_id": f"{rng.getrandbits(128):032x}",
            "tenant": tenant,
            "function": tenant + rng.choice(("/resize", "/mail", "/list")),
            "version": "8f1e0c2d4a6b8f1e", "runtime": "python",
            "instance": f"{run:x}-{seq % 7 + 1}", "trigger": "web",
            "method": rng.choice(("GET", "GET", "POST")), "start": start,
            "cold": start != "warm",
            "status": 200 if outcome == "ok" else rng.choice((500, 502, 0)),
            "outcome": outcome, "reason": None, "queue_us": rng.randrange(999),
            "init_us": init_us, "run_us": run_us, "billed_ms": billed,
            "cpu_us": cpu_us, "cpu_user_us": cpu_us, "cpu_sys_us": 0,
            "cpu_source": "cgroup", "mem_peak_kib": rng.randrange(limit << 10),
            "mem_source": "cgroup", "mem_limit_mib": limit,
            "mib_ms": limit * billed, "bytes_in": rng.randrange(5000),
            "bytes_out": rng.randrange(50_000), "exit": 0, "signal": None}


def instance(rng, seq, when, run=RUN):
    idle_us = rng.randrange(60_000_000)
    return {"v": 1, "seq": seq, "type": "instance", "time": stamp(when),
            "instance": f"{run:x}-{seq}", "tenant": "alice",
            "function": "alice/resize", "version": "8f1e0c2d4a6b8f1e",
            "runtime": "python", "reason": "day" if seq % 3 == 0 else "idle",
            "executions": 4,
            "lifetime_us": idle_us + 5000, "start_us": 5000,
            "idle_us": idle_us, "start_cpu_us": rng.randrange(4000),
            "exec_cpu_us": 0, "idle_cpu_us": rng.randrange(4000),
            "cpu_source": "cgroup", "mem_peak_kib": 4096,
            "mem_limit_mib": 128, "idle_mib_ms": 128 * -(-idle_us // 1000),
            "exit": 0, "signal": None}


def host(seq, when, event, run=RUN):
    return {"v": 1, "seq": seq, "type": "host", "time": stamp(when),
            "run": f"{run:x}", "event": event, "executions": seq,
            "refused_unrecorded": 0}


def ledger(count, seed=1, run=RUN, first=1, start=START, step_s=120):
    """Records of one run, seq from first on, and times that grow."""
    rng = random.Random(seed)
    out = []
    for i in range(count):
        when = start + datetime.timedelta(seconds=i * step_s,
                                          microseconds=rng.randrange(10**6))
        seq = first + i
        if i == 0 and first == 1:
            out.append(host(seq, when, "start", run))
        elif rng.random() < 0.1:
            out.append(instance(rng, seq, when, run))
        else:
            out.append(execution(rng, seq, when, run))
    return out


def text(records):
    return "".join(json.dumps(one, separators=(",", ":")) + "\n"
                   for one in records).encode()


def value(record, key):
    """A record's value of a key of --by."""
    if key in ("day", "month", "hour"):
        return record["time"][:{"day": 10, "month": 7, "hour": 13}[key]]
    if key == "status":
        return f"{record['status']:03d}" if record["type"] == "exec" else ""
    return record.get(key) or ""


def add(total, record):
    """One record into a group's sums, by the words of fcgi-host-usage(8)."""
    if record["type"] == "instance":
        total["instances"] += record["reason"] != "day" # it lives on
        total["idle_us"] += record["idle_us"]
        total["idle_mib_ms"] += record["idle_mib_ms"]
        total["cpu_us"] += record["start_cpu_us"] + record["idle_cpu_us"]
        return
    outcome = record["outcome"]
    total["cpu_us"] += record["cpu_us"]
    if outcome == "lost":
        total["lost"] += 1
        total["queue_us"] += record["queue_us"]
        return
    for name in NUMBERS:
        total[name] += record[name]
    total["mem_peak_kib"] = max(total["mem_peak_kib"], record["mem_peak_kib"])
    if outcome == "refused":
        total["refused"] += 1
        return
    total["executions"] += 1
    total["cold"] += record["cold"]
    if outcome == "aborted":
        total["aborted"] += 1
    elif outcome != "ok":
        total["errors"] += 1


def sums(records, keys):
    """{values of the keys: sums}, as `usage --by KEYS --json` has them."""
    names = ("executions", "errors", "aborted", "refused", "lost", "cold",
             "cpu_us", "mem_peak_kib", "instances", "idle_us", "idle_mib_ms",
             *NUMBERS)
    groups = collections.defaultdict(lambda: dict.fromkeys(names, 0))
    for record in records:
        if record["type"] != "host":
            add(groups[tuple(value(record, key) for key in keys)], record)
    return dict(groups)
