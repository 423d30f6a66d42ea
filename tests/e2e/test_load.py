"""Many executions, and none at all: nothing is lost, left or awake."""
import threading
import time

from lib import books, fcgi, leaks, proc

CONNECTIONS = 64
EXECUTIONS = 10000


def worker(host, url, count, wrong):
    """Executions one after the other on one kept connection."""
    with host.connect(timeout=60) as connection:
        for lap in range(count):
            connection.send(fcgi.request_bytes(
                f"{url}?head&raw={lap}", request_id=1, flags=fcgi.KEEP_CONN))
            answer = connection.read_answer()
            if answer.text != str(lap) or not answer.is_complete:
                wrong.append(answer)


def run_load(host, url, executions):
    wrong = []
    share = [executions // CONNECTIONS + (n < executions % CONNECTIONS)
             for n in range(CONNECTIONS)]
    threads = [threading.Thread(target=worker, args=(host, url, n, wrong))
               for n in share]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, f"{len(wrong)} wrong answers, the first: {wrong[0]!r}"


def test_ten_thousand_executions_leave_records_and_nothing_else(start_once,
                                                                programs):
    host = start_once.host({"swiss.cgi": programs.cgi,
                            "warm.fcgi": programs.fcgi},
                           {"defaults": {"idle": "1s"}})
    run_load(host, "/fn/swiss", 64)
    run_load(host, "/fn/warm", 64)
    host.wait_prepared(2)
    before = leaks.at_rest(host)
    run_load(host, "/fn/swiss", EXECUTIONS // 2)
    run_load(host, "/fn/warm", EXECUTIONS // 2)
    host.wait_prepared(2)
    leaks.settle(host, before)
    records = host.books.all()
    executions = [r for r in records if r["type"] == "exec"]
    assert len(executions) == EXECUTIONS + 128
    assert all(r["outcome"] == "ok" for r in executions)
    assert len({r["id"] for r in executions}) == len(executions)
    assert len({r["request_id"] for r in executions}) == len(executions)
    books.check_seq(records, True)
    lives = [r for r in records if r["type"] == "instance"]
    assert sum(r["executions"] for r in lives) == len(executions)


def test_a_thousand_fresh_sandboxes_leave_nothing(start_once, programs):
    host = start_once.host({"swiss.cgi": programs.cgi},
                           {"defaults": {"idle": "0"}})
    run_load(host, "/fn/swiss", 64)
    host.wait_prepared(1)
    before = leaks.at_rest(host)
    run_load(host, "/fn/swiss", 1000)
    host.wait_prepared(1)
    leaks.settle(host, before)
    assert len(host.books.executions()) == 1064
    books.check_seq(host.books.all(), True)


def wakeups(roles):
    return {role: proc.wakeups(pid) for role, pid in roles.items()}


def wait_asleep(host, timeout=30):
    """Until nobody was woken for a second; the roles."""
    until = time.monotonic() + timeout
    while True:
        roles = host.roles()
        before = wakeups(roles)
        time.sleep(1)
        if len(roles) == 3 and wakeups(roles) == before:
            return roles
        assert time.monotonic() < until, "somebody is always awake"


def test_an_idle_host_is_small_and_asleep(start_once):
    text = "printf 'Content-Type: text/plain\\n\\nhello'\n"
    host = start_once.host({f"f{n:03}.sh": text for n in range(100)})
    # the scanner needs python only while it looks; nothing is warm
    roles = wait_asleep(host)
    assert set(roles) == {"spawner", "gateway", "scanner"}
    assert host.instances() == []
    before = wakeups(roles)
    time.sleep(4)
    after = wakeups(roles)
    assert after == before, f"woken while idle: {before} → {after}"
    sizes = {role: proc.pss_kib(pid) for role, pid in roles.items()}
    if not host.installed.is_sanitized:
        assert sum(sizes.values()) < 12 * 1024, sizes
    answer = host.fetch("/fn/f042")
    assert answer.text == "hello"


def test_a_host_whose_instances_have_ended_sleeps_again(start_once, programs):
    host = start_once.host({"swiss.cgi": programs.cgi,
                            "warm.fcgi": programs.fcgi},
                           {"defaults": {"idle": "300ms"}})
    for name in ("swiss", "warm"):
        for _ in range(5):
            host.fetch(f"/fn/{name}?head")
    host.wait_prepared(2)
    time.sleep(1)  # the spawner looks a second longer who burns
    roles = wait_asleep(host)
    before = wakeups(roles)
    time.sleep(3)
    after = wakeups(roles)
    assert after == before, f"woken while idle: {before} → {after}"
