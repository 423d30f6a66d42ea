"""fcgi-host usage --audit: true books balance, doctored ones do not."""
import copy
import json
import random
import signal

import pytest

from lib import made_books

WHEN = made_books.START


def host(seq, event, run, **more):
    record = made_books.host(seq, WHEN, event, run)
    return {**record, **more}


def clock(cpu_us, open_us=0):
    return {"cgroup_cpu_us": cpu_us, "cgroup_user_us": cpu_us,
            "cgroup_sys_us": 0, "open_cpu_us": open_us}


def used(records):
    return sum(r["cpu_us"] if r["type"] == "exec" and r["outcome"] != "lost"
               else r["start_cpu_us"] + r["idle_cpu_us"]
               if r["type"] == "instance" else 0 for r in records)


def work(run, first, count, seed=3):
    """Executions and an instance in every tenth place."""
    rng = random.Random(seed)
    return [made_books.instance(rng, seq, WHEN, run) if seq % 10 == 0 else
            made_books.execution(rng, seq, WHEN, run)
            for seq in range(first, first + count)]


def whole_run(run=made_books.RUN, count=200, **start):
    """start, work, totals with some of it open, work, stop."""
    early, late = work(run, 2, count), work(run, count + 3, count, 4)
    return [host(1, "start", run, **start), *early,
            host(count + 2, "totals", run, **clock(used(early) + 700000,
                                                   700000)),
            *late, host(2 * count + 3, "stop", run,
                        **clock(used(early) + used(late)))]


def audit(installed, tmp_path, *files):
    """The rows, by run; the exit status; what was said on stderr."""
    paths = []
    for at, records in enumerate(files):
        paths.append(tmp_path / f"a.{at}")
        paths[-1].write_bytes(made_books.text(records))
    done = installed.run("usage", "--audit", "--json", *paths)
    rows = {row["run"]: row for row in map(json.loads, done.stdout.splitlines())}
    return rows, done.returncode, done.stderr


def name(run=made_books.RUN):
    return f"{run:x}"


@pytest.mark.any_user
def test_a_run_whose_records_are_its_clock_balances(installed, tmp_path):
    rows, code, said = audit(installed, tmp_path, whole_run())
    assert (code, said) == (0, "")
    row = rows[name()]
    assert (row["until"], row["missing_us"], row["is_whole"]) == \
        ("stop", 0, True)
    assert row["recorded_us"] == row["clock_us"] > 5000000


@pytest.mark.any_user
@pytest.mark.parametrize("factor, code", [
    (0.985, 1), (0.993, 0), (1.007, 0), (1.015, 1)])
def test_one_percent_is_the_bound(installed, tmp_path, factor, code):
    records = whole_run()
    records[-1]["cgroup_cpu_us"] = int(used(records) / factor)
    rows, got, said = audit(installed, tmp_path, records)
    assert got == code, said
    assert rows[name()]["is_balanced"] == (code == 0)
    assert ("do not balance" in said) == (code == 1)


@pytest.mark.any_user
@pytest.mark.parametrize("event, most_us", [("stop", 10000), ("totals", 50000)])
def test_of_a_short_run_no_more_is_missing_than_one_reading_is_late(
        installed, tmp_path, event, most_us):
    records = whole_run(count=20)
    for record in records:
        if record["type"] == "exec":
            record["cpu_us"] = 10000
    early = used(records[:21])
    clocks = {"totals": early + 50000, "stop": used(records)}
    records[21].update(clock(clocks["totals"], 50000))
    if event == "totals":
        records = records[:22]
    for missing_us in (most_us, most_us + 1, -most_us, -most_us - 1):
        records[-1]["cgroup_cpu_us"] = clocks[event] + missing_us
        rows, code, said = audit(installed, tmp_path, records)
        assert rows[name()]["missing_us"] == missing_us, said
        assert rows[name()]["is_balanced"] == (abs(missing_us) == most_us)
        assert code == (abs(missing_us) != most_us)


@pytest.mark.any_user
def test_a_run_that_goes_on_balances_with_what_is_open(installed, tmp_path):
    records = [r for r in whole_run() if r.get("event") != "stop"]
    rows, code, said = audit(installed, tmp_path, records)
    assert (code, said) == (0, "")
    row = rows[name()]
    assert (row["until"], row["open_us"], row["missing_us"]) == \
        ("totals", 700000, 0)


@pytest.mark.any_user
def test_a_run_that_died_ends_with_what_the_next_start_found(installed,
                                                             tmp_path):
    """The host died twice before one ended well; each finds the clock of all
    the dead, and says what of it is in no record."""
    dead = [1, 2, 3]
    files, sum_us = [], 0
    for run in dead:
        records = [r for r in whole_run(run) if r.get("event") != "stop"]
        if run > 1:
            records[0] |= clock(sum_us) | {"lost_cpu_us": 30000}
        sum_us += used(records) + 30000
        files.append(records)
    files.append(whole_run(4, **clock(sum_us), lost_cpu_us=30000))
    rows, code, said = audit(installed, tmp_path, *files)
    assert (code, said) == (0, "")
    assert [rows[str(run)]["until"] for run in (1, 2, 3, 4)] == \
        ["next start"] * 3 + ["stop"]
    assert [rows[str(run)]["missing_us"] for run in (1, 2, 3, 4)] == [0] * 4
    files[1] = [r for r in files[1] if r.get("seq", 0) % 3]
    rows, code, _ = audit(installed, tmp_path, *files)
    assert code == 1 and not rows["2"]["is_balanced"]


@pytest.mark.any_user
def test_what_stands_there_twice_is_told_and_balances(installed, tmp_path):
    records = whole_run()
    rows, code, said = audit(installed, tmp_path, records, records[10:40])
    assert rows[name()]["missing_us"] == 0 and rows[name()]["is_balanced"]
    assert code == 1 and "stand in the books twice" in said
    assert "do not balance" not in said


@pytest.mark.any_user
def test_without_its_beginning_a_run_balances_from_its_first_totals(
        installed, tmp_path):
    rows, code, said = audit(installed, tmp_path, whole_run()[50:])
    assert (code, said) == (0, "")
    row = rows[name()]
    assert (row["is_whole"], row["open_us"], row["missing_us"]) == \
        (False, -700000, 0)


@pytest.mark.any_user
def test_without_its_beginning_a_run_that_died_balances_to_its_last_totals(
        installed, tmp_path):
    """What the next start found is of the host before it, too."""
    records = whole_run(2)
    spent = used(records)
    again = host(len(records), "totals", 2, **clock(spent))
    files = [[*records[50:-1], again],
             whole_run(3, **clock(spent + 10 ** 9), lost_cpu_us=30000)]
    rows, code, said = audit(installed, tmp_path, *files)
    assert (code, said) == (0, "")
    assert (rows["2"]["until"], rows["2"]["missing_us"]) == ("totals", 0)


@pytest.mark.any_user
def test_without_a_clock_there_is_nothing_to_hold_the_records_against(
        installed, tmp_path):
    records = whole_run()
    for at in [i for i, one in enumerate(records)
               if one.get("event") in ("totals", "stop")]:
        records[at] = host(at + 1, "reload" if records[at]["event"] == "totals"
                           else "stop", made_books.RUN)
    rows, code, said = audit(installed, tmp_path, records)
    assert (code, said) == (0, "") and rows[name()]["until"] is None


def of_kind(records, kind, claim=lambda r: True):
    return next(r for r in records if r["type"] == kind and claim(r))


def is_plain(record):
    return record["outcome"] == "ok" and record["init_us"] > 0


DOCTORED = [
    ("exec", {"cpu_us": 10 ** 9}, "cpu_us is more than all processors had"),
    ("exec", {"billed_ms": 10 ** 6}, "billed_ms is not init_us and run_us"),
    ("exec", {"mib_ms": 1}, "mib_ms is not mem_limit_mib times"),
    ("exec", {"sandbox_us": 10 ** 9}, "sandbox_us is more than init_us"),
    ("exec", {"program_us": 10 ** 9}, "program_us is more than run_us"),
    ("exec", {"run_us": 2 ** 64 - 1}, "longer than any time"),
    ("exec", {"init_us": 2 ** 64 - 1}, "longer than any time"),
    ("exec", {"cpu_us": -1}, "cpu_us is no number of 0 or more"),
    ("exec", {"outcome": "refused"}, "billed_ms is not init_us and run_us"),
    ("instance", {"idle_us": 10 ** 12}, "idle_us is more than lifetime_us"),
    ("instance", {"idle_cpu_us": -5}, "idle_cpu_us is no number of 0 or more"),
    ("instance", {"start_cpu_us": 2 ** 64 - 1, "idle_cpu_us": 9},
     "more than any clock shows"),
    ("host", {"open_cpu_us": 10 ** 12}, "open_cpu_us is more than"),
    ("host", {"cgroup_cpu_us": 2 ** 63, "open_cpu_us": 2 ** 63},
     "cgroup_cpu_us is more than any clock shows"),
]


@pytest.mark.any_user
@pytest.mark.parametrize("kind, change, why", DOCTORED,
                         ids=lambda value: str(value)[:30])
def test_an_entry_that_cannot_be_is_told_with_its_line(installed, tmp_path,
                                                       kind, change, why):
    records = whole_run()
    claim = is_plain if kind == "exec" else \
        (lambda r: r.get("event") in (None, "totals"))
    bad = of_kind(records, kind, claim)
    line = records.index(bad) + 1
    bad.update(change)
    _, code, said = audit(installed, tmp_path, records)
    assert code == 1
    assert f"a.0:{line}: " in said and why in said, said


@pytest.mark.any_user
def test_no_sum_goes_round_whatever_a_record_says(installed, tmp_path):
    """Not to a balance, and not to what is less than nothing."""
    records = whole_run()
    of_kind(records, "exec", is_plain)["cpu_us"] = 2 ** 64 - 1
    of_kind(records, "host", lambda r: r["event"] == "totals").update(
        clock(2 ** 63 - 1, 2 ** 63 - 1))
    records[-1].update(clock(2 ** 63 - 1, 2 ** 63 - 1))
    rows, code, _ = audit(installed, tmp_path, records)
    row = rows[name()]
    assert code == 1 and not row["is_balanced"]
    assert row["recorded_us"] == 2 ** 63 - 1
    assert row["missing_us"] == 1 - 2 ** 63


@pytest.mark.any_user
def test_a_clock_that_goes_back_is_told(installed, tmp_path):
    records = whole_run()
    totals = of_kind(records, "host", lambda r: r["event"] == "totals")
    again = copy.deepcopy(totals)
    again["cgroup_cpu_us"] -= 5
    again["seq"] += 1
    records[records.index(totals) + 1] = again
    _, code, said = audit(installed, tmp_path, records)
    assert code == 1 and "less than it was before" in said


@pytest.mark.any_user
def test_the_table_has_a_line_for_each_run_and_says_which_is_wrong(installed,
                                                                   tmp_path):
    bad = whole_run(7)
    del bad[20:90]
    path = tmp_path / "a"
    path.write_bytes(made_books.text([*whole_run(5), *bad]))
    done = installed.run("usage", "--audit", path)
    head, good, wrong = done.stdout.splitlines()
    assert done.returncode == 1
    assert head.split() == ["RUN", "UNTIL", "EXECUTIONS", "RECORDED-S",
                            "OPEN-S", "CLOCK-S", "RATIO", "MISSING-S",
                            "BALANCE"]
    assert good.split()[-3:] == ["100.00%", "0.000", "ok"]
    assert wrong.split()[0] == "7" and wrong.split()[-1] == "WRONG"


@pytest.mark.any_user
@pytest.mark.parametrize("more", ["--csv", "--by=tenant", "--from=2026-11-01",
                                  "--format=lambda"])
def test_it_balances_whole_runs_or_nothing(installed, tmp_path, more):
    (tmp_path / "a").write_bytes(made_books.text(whole_run()))
    done = installed.run("usage", "--audit", more, tmp_path / "a")
    assert done.returncode == 2 and "--audit balances whole runs" in done.stderr


def test_what_a_host_wrote_balances_also_when_it_was_killed(start_once,
                                                            programs,
                                                            installed):
    made = start_once.host({"c.cgi": programs.cgi, "f.fcgi": programs.fcgi})
    for url in ("/fn/c?head&cpu=150", "/fn/f?head&daemon=200&cpu=100"):
        made.execute(url)
    made.process.send_signal(signal.SIGKILL)
    made.process.wait()
    made.start()
    made.execute("/fn/c?head&threads=2,50")
    made.stop()
    done = installed.run("usage", "--audit", "--json", made.accounting)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert second["until"] == "stop" and first["until"] == "next start"
    assert first["clock_us"] > 250000 and second["clock_us"] > 90000
