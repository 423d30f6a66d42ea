"""Every field of the accounting records, held against what was really done."""
import datetime
import json
import pathlib
import re
import time

import pytest

from lib import books, proc, schema

EXEC_FIELDS = """v seq type id request_id time tenant function version instance
    trigger method start cold status outcome queue_us init_us run_us billed_ms
    cpu_user_us cpu_sys_us mem_peak_kib mem_source mem_limit_mib bytes_in
    bytes_out exit signal""".split()
INSTANCE_FIELDS = """v seq type time instance tenant function version
    executions lifetime_us start_us idle_us start_cpu_us idle_cpu_us
    reason""".split()
HEAD = len("Content-Type: text/plain\r\n\r\n")


@pytest.fixture(scope="module")
def host(start, programs):
    return start.host({
        "swiss.cgi": programs.cgi, "alice/f.fcgi": programs.fcgi,
        "alice/c.cgi": programs.cgi, "big.cgi": programs.cgi,
        "version.sh": "printf 'Content-Type: text/plain\\n\\none'\n",
        "brief.cgi": programs.cgi, "split.cgi": programs.cgi,
        "wait.cgi": programs.cgi}, {
            "function big": {"memory": "256M"},
            "function brief": {"idle": "200ms"},
            "function wait": {"idle": "200ms"}})


@pytest.fixture(params=["swiss", "alice/f"])
def warm(request, host):
    """The URL of a function of each protocol, with a warm instance."""
    host.execute(f"/fn/{request.param}?head")
    return f"/fn/{request.param}"


def test_an_execution_has_every_field_with_its_type(host):
    _, record = host.execute("/fn/alice/c?head&raw=x")
    missing = [name for name in EXEC_FIELDS if name not in record]
    assert not missing
    assert (record["v"], record["type"]) == (1, "exec")
    for name in record:
        if name.endswith(("_us", "_ms", "_kib", "_mib")) or \
                name in ("seq", "bytes_in", "bytes_out", "status"):
            assert isinstance(record[name], int) and record[name] >= 0, name
    assert record["tenant"] == "alice"
    assert record["function"] == "alice/c"
    assert (record["trigger"], record["method"]) == ("web", "GET")
    assert re.fullmatch(r"[0-9a-f]{16}", record["version"])
    assert record["id"] and record["instance"]
    assert record["mem_limit_mib"] == 128


def test_the_start_is_split_into_sandbox_and_program(host):
    _, cold = host.execute("/fn/split?sleep=60&head")
    assert 0 < cold["sandbox_us"] <= cold["init_us"]
    _, warm = host.execute("/fn/split?sleep=60&head")
    assert (warm["cold"], warm["sandbox_us"]) == (False, 0)
    for one in (cold, warm):  # CGI: the program is started for each
        assert 60000 <= one["program_us"] <= one["run_us"]


def test_a_program_that_runs_on_is_started_once(start_once, programs):
    host = start_once.host({"f.fcgi": programs.fcgi})
    _, first = host.execute("/fn/f?sleep=40&head")
    _, second = host.execute("/fn/f?sleep=40&head")
    assert 40000 <= first["program_us"] <= first["run_us"]
    assert (second["cold"], second["program_us"]) == (False, 0)


def test_the_memory_at_the_beginning_is_what_the_one_before_left(host):
    host.execute("/fn/alice/f?head&mem=30720")
    _, after = host.execute("/fn/alice/f?head")
    assert after["mem_start_source"] in {"cgroup", "process"}
    assert 0 < after["mem_start_kib"] < 20000
    _, cgi = host.execute("/fn/swiss?head&mem=30720")
    assert 0 < cgi["mem_start_kib"] < 20000 <= cgi["mem_peak_kib"]


def test_runtime_deadline_and_memory_time_are_what_was_configured(host):
    _, big = host.execute("/fn/big?head")
    assert (big["runtime"], big["deadline_ms"]) == ("", 30000)
    assert big["mib_ms"] == 256 * big["billed_ms"]
    _, script = host.execute("/fn/version")
    assert script["runtime"] == "sh"


@pytest.mark.parametrize("query,outcome,cause", [
    ("head", "ok", None), ("head&exit=3", "error", "exit"),
    ("kill=11", "crash", "signal"), ("hang", "timeout", "deadline")])
def test_what_ended_a_program_has_a_name(causes, query, outcome, cause):
    for name in ("c", "f"):
        late = "late/" if query == "hang" else ""
        _, record = causes.execute(f"/fn/{late}{name}?{query}")
        # a CGI program ends with its exit code, and that is no death
        wanted = None if (name, cause) == ("c", "exit") else cause
        assert (record["outcome"], record["cause"]) == (outcome, wanted), name


@pytest.fixture(scope="module")
def causes(start, programs):
    return start.host(
        {"c.cgi": programs.cgi, "f.fcgi": programs.fcgi,
         "late/c.cgi": programs.cgi, "late/f.fcgi": programs.fcgi},
        {"function late/c": {"timeout": "400ms"},
         "function late/f": {"timeout": "400ms"}})


def test_an_instance_keeps_its_memory_while_it_waits(host):
    _, one = host.execute("/fn/wait?head")
    ended = host.books.wait(lambda r: r["type"] == "instance" and
                            r["instance"] == one["instance"])
    assert ended["mem_limit_mib"] == 128 and ended["runtime"] == ""
    assert ended["idle_mib_ms"] >= 128 * 150


DOCTORED = [("cpu_us", -1), ("billed_ms", 1.5), ("outcome", "fine"),
            ("time", "2026-11-27 10:00:00"), ("more", 1), ("cause", "bug"),
            ("version", "ABC"), ("mib_ms", 7), ("sandbox_us", 10 ** 9)]


@pytest.mark.parametrize("field,value", DOCTORED)
def test_the_schema_refuses_a_record_that_none_can_be(host, field, value):
    _, record = host.execute("/fn/swiss?head")
    check = schema.Schema()
    check.check_line(json.dumps(record))
    with pytest.raises((AssertionError, schema.Invalid)):
        check.check_line(json.dumps({**record, field: value}))


def test_the_schema_asks_for_every_field(host):
    check = schema.Schema()
    for kind in ("exec", "instance", "host"):
        record = host.books.wait(lambda r, kind=kind: r["type"] == kind)
        for field in record:
            with pytest.raises((AssertionError, schema.Invalid, KeyError)):
                check.check_line(json.dumps(
                    {k: v for k, v in record.items() if k != field}))


def test_the_manual_names_every_field_of_the_schema():
    source = pathlib.Path(__file__).resolve().parents[2]
    manual = (source / "docs/man/fcgi-host-accounting.5.in").read_text("utf-8")
    words = set(re.findall(r"[a-z_]+", "\n".join(
        line for line in manual.splitlines()
        if line.startswith((".It Li", "and")))))
    rules = json.loads(schema.find().read_text("utf-8"))["definitions"]
    for kind in ("exec", "instance", "host"):
        missing = set(rules[kind]["properties"]) - words - {"mac"}
        assert not missing, (kind, missing)


def test_the_time_of_arrival_is_utc_and_right(host):
    before = datetime.datetime.now(datetime.timezone.utc)
    _, record = host.execute("/fn/swiss?head&sleep=300")
    after = datetime.datetime.now(datetime.timezone.utc)
    assert record["time"].endswith("Z")
    arrived = datetime.datetime.fromisoformat(record["time"][:-1] + "+00:00")
    slack = datetime.timedelta(milliseconds=5)
    assert before - slack <= arrived
    assert arrived <= after - datetime.timedelta(milliseconds=290)


def test_a_sleep_is_run_time_and_no_cpu(host, warm):
    _, record = host.execute(f"{warm}?head&sleep=300")
    assert 300000 <= record["run_us"] < 10000000
    assert record["cpu_us"] < 30000
    assert record["billed_ms"] == \
        -(-(record["init_us"] + record["run_us"]) // 1000)


def test_start_time_is_billed_and_shown_apart(host):
    _, cold = host.execute("/fn/brief?head")
    assert cold["cold"] is True and cold["init_us"] > 0
    assert cold["billed_ms"] == -(-(cold["init_us"] + cold["run_us"]) // 1000)


@pytest.mark.parametrize("kind,wanted", [("cpu", 300), ("sys", 300)])
def test_a_busy_loop_is_charged_what_it_used(host, warm, kind, wanted):
    _, idle = host.execute(f"{warm}?head")
    _, record = host.execute(f"{warm}?head&{kind}={wanted}")
    used = record["cpu_us"] - idle["cpu_us"]
    assert wanted * 990 <= used <= wanted * 1080 + 10000, used
    whole = record["cpu_user_us"] + record["cpu_sys_us"]
    assert abs(whole - record["cpu_us"]) <= 20000
    mostly = "cpu_user_us" if kind == "cpu" else "cpu_sys_us"
    assert record[mostly] > 0.6 * whole, record


def test_the_record_agrees_with_cpu_stat_of_the_instance(host, warm):
    """The kernel's own clock of that sandbox, read by the test."""
    instances = host.instances()
    leaves = {proc.cgroup_v2(pid) for pid in instances} - {None}
    assert leaves, "no instance has a cgroup of its own"

    def total():
        return {leaf: int(re.search(r"usage_usec (\d+)",
                                    (leaf / "cpu.stat").read_text())[1])
                for leaf in leaves if leaf.exists()}

    before = total()
    _, record = host.execute(f"{warm}?head&cpu=200")
    time.sleep(0.05)
    after = total()
    used = max(after[leaf] - before[leaf] for leaf in after)
    assert abs(used - record["cpu_us"]) <= 0.02 * used + 1000, \
        (used, record["cpu_us"])


def test_memory_is_the_peak_of_this_execution(host, warm):
    _, small = host.execute(f"{warm}?head")
    _, large = host.execute(f"{warm}?head&mem=40960")
    _, after = host.execute(f"{warm}?head")
    assert 40960 <= large["mem_peak_kib"] <= 40960 + 16384, large
    assert small["mem_peak_kib"] < 20000
    assert after["mem_peak_kib"] < 20000, \
        "the peak of one execution stands in the next one's record"
    assert large["mem_source"] in {"cgroup", "process"}
    assert small["mem_source"] in {"cgroup", "process", "process-lately"}


def test_a_functions_own_memory_limit_stands_in_the_record(host):
    answer, record = host.execute("/fn/big?head&mem=160000&raw=ok")
    assert (answer.text, record["mem_limit_mib"]) == ("ok", 256)
    assert record["mem_peak_kib"] >= 160000


def test_a_begun_mib_of_a_limit_is_charged_as_a_whole_one(start_once, programs):
    """In both kinds of record; else a sidecar had most of it for nothing."""
    host = start_once.host({"f.cgi": programs.cgi, "f.ini":
        "[function]\nmemory = 17407K\nidle = 100ms\n"})
    _, record = host.execute("/fn/f?head")
    assert record["mem_limit_mib"] == 17
    assert record["mib_ms"] == 17 * record["billed_ms"]
    ended = host.books.wait(lambda one: one["type"] == "instance" and
                            one["executions"] == 1)
    assert ended["mem_limit_mib"] == 17
    assert ended["idle_mib_ms"] == 17 * -(-ended["idle_us"] // 1000)


def test_above_its_memory_a_function_gets_none(host):
    """Denied by the limit, or killed by it: never served."""
    answer, record = host.execute("/fn/swiss?head&hold=200000&raw=ok")
    assert record["mem_limit_mib"] == 128
    assert record["mem_peak_kib"] <= 136 * 1024
    assert not answer.is_complete or answer.text == "mem=denied\nok"
    assert record["outcome"] in ("oom", "error", "ok")
    if not answer.is_complete:
        assert record["outcome"] == "oom"


@pytest.mark.parametrize("size", [0, 1, 1000, 70000, 1000000])
def test_bytes_out_is_what_the_function_produced(host, warm, size):
    _, record = host.execute(f"{warm}?head&out={size}")
    assert record["bytes_out"] == HEAD + size
    assert record["bytes_in"] == 0


@pytest.mark.parametrize("size", [1, 1000, 70000, 1000000])
def test_bytes_in_is_the_body_received(host, warm, size):
    _, record = host.execute(f"{warm}?head&sum", b"b" * size)
    assert record["bytes_in"] == size


def test_the_version_follows_the_contents(host):
    _, one = host.execute("/fn/version")
    host.add("version.sh", "printf 'Content-Type: text/plain\\n\\ntwo'\n")
    until = time.monotonic() + 30
    while host.fetch("/fn/version").text != "two":
        assert time.monotonic() < until, "the old version still answers"
        time.sleep(0.05)
    _, two = host.execute("/fn/version")
    assert two["version"] != one["version"]
    host.add("version.sh", "printf 'Content-Type: text/plain\\n\\none'\n")
    while host.fetch("/fn/version").text != "one":
        assert time.monotonic() < until + 3, "the old version still answers"
        time.sleep(0.05)
    _, three = host.execute("/fn/version")
    assert three["version"] == one["version"]


def test_a_hostile_request_id_cannot_forge_a_record(host):
    evil = 'x"}\n{"type":"exec","seq":999999,"request_id":"forged'
    host.fetch("/fn/swiss?head", REQUEST_ID=evil, REQUEST_METHOD='G"E\nT')
    host.fetch("/fn/swiss?head", REQUEST_ID="\xff\xfe" * 5000)
    host.execute("/fn/swiss?head")
    records = host.books.all()
    assert not [r for r in records if r.get("request_id") == "forged"]
    books.check_seq(records, True)


def test_a_start_is_charged_to_its_instance(host):
    _, record = host.execute("/fn/brief?head")
    ended = host.books.wait(lambda r: r["type"] == "instance" and
                            r["instance"] == record["instance"])
    assert ended["start_cpu_us"] > 0


def test_an_instances_record_sums_up_its_life(host):
    for _ in range(3):
        _, record = host.execute("/fn/brief?head&cpu=30&sleep=20")
    name = record["instance"]
    ended = host.books.wait(lambda r: r["type"] == "instance" and
                            r["instance"] == name)
    missing = [field for field in INSTANCE_FIELDS if field not in ended]
    assert not missing
    mine = [r for r in host.books.executions("brief")
            if r["instance"] == name]
    assert ended["executions"] == len(mine)
    assert (ended["tenant"], ended["function"]) == ("default", "brief")
    assert ended["exec_cpu_us"] == sum(r["cpu_us"] for r in mine)
    assert ended["start_us"] > 0
    spent = sum(r["run_us"] for r in mine)
    assert ended["lifetime_us"] >= spent + 150000
    assert ended["idle_us"] >= 150000
    assert ended["idle_us"] <= ended["lifetime_us"] - spent + 20000


def test_the_host_writes_its_start(host):
    first = host.books.all()[0]
    assert (first["type"], first["event"]) == ("host", "start")
    assert first["seq"] == 1


def test_the_host_writes_its_stop_with_the_cgroups_totals(start_once,
                                                           programs):
    host = start_once.host({"a.cgi": programs.cgi})
    for _ in range(3):
        host.execute("/fn/a?head&cpu=50")
    host.stop()
    records = host.books.all()
    last = records[-1]
    assert (last["type"], last["event"]) == ("host", "stop")
    assert last["executions"] == 3
    assert last["cgroup_cpu_us"] >= 150000
    kinds = [r["type"] for r in records]
    assert kinds.count("instance") >= 1, "an instance ended without a record"
    books.check_seq(records, True)


def test_a_second_run_goes_on_in_the_same_log(start_once, programs):
    host = start_once.host({"a.cgi": programs.cgi})
    _, one = host.execute("/fn/a?head")
    host.stop()
    before = host.books.lines()
    # what a crashed machine may leave: a line without its end
    with open(host.accounting, "ab") as log:
        log.write(b'{"v":1,"seq":77,"type":"exec","torn')
    host.start()
    _, two = host.execute("/fn/a?head")
    host.stop()
    lines = host.books.lines()
    assert lines[:len(before)] == before
    records = host.books.all()
    assert one["id"] != two["id"]
    starts = [i for i, r in enumerate(records)
              if r["type"] == "host" and r["event"] == "start"]
    assert len(starts) == 2
    books.check_seq(records[:starts[1]], True)
    books.check_seq(records[starts[1]:])


def test_invoke_is_the_same_path_with_its_own_trigger(host):
    done = host.verb("invoke", "alice/c")
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stdout
    record = [r for r in host.books.executions("alice/c")
              if r["trigger"] == "invoke"]
    assert len(record) == 1
    assert (record[0]["status"], record[0]["outcome"]) == (200, "ok")
