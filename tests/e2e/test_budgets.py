"""Budgets: what is used is refused, counted once, and survives every death."""
import json
import os
import re
import signal
import time

import pytest

from lib import books, fcgi, host as host_room, proc, threads

QUICK = "/fn/alice/f?head"


def budgets(host):
    return json.loads(host.verb("status", "--json").stdout)["budgets"]


def used(host, unit="executions", **whose):
    found = [b["used"] for b in budgets(host) if b["unit"] == unit and
             whose.items() <= b.items()]
    assert len(found) == 1, found
    return found[0]


def charged(host, tenant="alice"):
    """The records that a budget in executions counts."""
    return [r for r in host.books.executions() if r["tenant"] == tenant and
            r["outcome"] not in ("refused", "lost")]


def is_refused(answer, record, status=429):
    assert answer.status == status
    assert 1 <= int(answer.header("Retry-After")) <= 31 * 86400
    assert "is used up (budget_" in record["reason"]
    assert record["reason"] in answer.text
    assert (record["outcome"], record["status"]) == ("refused", status)
    assert (record["billed_ms"], record["start"]) == (0, None)
    return record["reason"]


def test_a_budget_that_is_used_up_refuses_until_its_end_and_starts_nothing(
        start, programs):
    host = start.host({"alice/f.cgi": programs.cgi,
                       "alice/g.cgi": programs.cgi,
                       "bob/f.cgi": programs.cgi},
                      {"tenant alice": {"budget_day": "5 executions"}})
    for _ in range(5):
        assert host.execute(QUICK)[1]["outcome"] == "ok"
    reason = is_refused(*host.execute(QUICK))
    assert "the tenant's budget of executions of this day" in reason
    # not even a function that was never asked for
    answer, record = host.execute("/fn/alice/g?head")
    is_refused(answer, record)
    left = 86400 - time.time() % 86400
    assert abs(int(answer.header("Retry-After")) - left) < 30
    assert not [i for i in host.books.of_type("instance")
                if i["function"] == "alice/g"]
    assert host.execute("/fn/bob/f?head")[1]["outcome"] == "ok"
    for _ in range(3):
        is_refused(*host.execute(QUICK))
    budget, = budgets(host)
    assert {"tenant": "alice", "period": "day", "unit": "executions",
            "used": 5, "allowed": 5}.items() <= budget.items()
    assert re.search(r"budget_day +tenant alice +5 executions +5 executions"
                     r" +100%", host.verb("status").stdout)
    log = host.log()
    assert log.count("event=budget_warning tenant=alice key=budget_day "
                     'used="4 executions"') == 1
    assert log.count("event=budget_used_up") == 1


def test_a_functions_gib_seconds_are_its_own_and_may_be_402(start, programs):
    host = start.host({"alice/f.cgi": programs.cgi,
                       "alice/g.cgi": programs.cgi},
                      {"defaults": {"memory": "512M", "budget_status": "402"},
                       "function alice/f": {"budget_month": "0.05 GiB-s"}})
    record = host.execute("/fn/alice/f?head&sleep=120")[1]
    assert record["outcome"] == "ok"
    assert "GiB-s of this month" in is_refused(*host.execute(QUICK), 402)
    spent = record["billed_ms"] * record["mem_limit_mib"] / 1024000
    assert abs(used(host, "GiB-s", function="alice/f") - spent) < 0.001
    assert host.execute("/fn/alice/g?head")[1]["outcome"] == "ok"


def run_and_wait(host, running, waiting):
    """As many run and wait of both as are said, then all go on; their answers
    and records."""
    def tenant():
        shown = json.loads(host.verb("status", "--json").stdout)["tenants"]
        row, = [t for t in shown if t["tenant"] == "alice"]
        return row["busy"], row["waiting"]

    urls = ["/fn/alice/f", "/fn/alice/g"] * ((running + waiting) // 2)
    begun = [threads.begin(host.execute, url) for url in urls]
    until = time.monotonic() + 30
    while tenant() != (running, waiting):
        assert time.monotonic() < until, tenant()
        time.sleep(0.05)
    (host.state / "data/alice/go").write_text("")
    return [one.result() for one in begun]


@pytest.mark.parametrize("instances, executions", [(1, 8), (3, 3)])
def test_a_budget_is_exceeded_by_no_more_than_was_in_flight(
        start, instances, executions):
    """30 clients: who waited when it was used up is no part."""
    waits = "until [ -e /data/go ]; do sleep 0.05; done\n" \
        "printf 'Content-Type: text/plain\\n\\n'\n"
    host = start.host({"alice/f.sh": waits, "alice/g.sh": waits},
                      {"defaults": {"instances": str(instances),
                                    "timeout": "2m", "queue_timeout": "1m"},
                       "tenant alice": {
                           "budget_day": f"{executions} executions"}})
    running = 2 * instances
    done = run_and_wait(host, running, 30 - running)
    served = len([1 for answer, _ in done if answer.status == 200])
    # the last that the budget had, and who ran beside it
    assert max(running, executions) <= served <= executions - 1 + running
    for answer, record in done:
        if answer.status != 200:
            is_refused(answer, record)
    assert used(host, tenant="alice") == len(charged(host)) == served
    is_refused(*host.execute("/fn/alice/f"))
    shown = json.loads(host.verb("status", "--json").stdout)["functions"]
    assert sum(one["executions"] for one in shown) == served


def test_one_instance_meets_a_budget_exactly(start):
    """Each is charged before the next one begins."""
    host = start.host({"alice/f.sh": "printf 'Content-Type: text/plain\\n\\n'"},
                      {"function alice/f": {"instances": "1",
                                            "queue_timeout": "1m"},
                       "tenant alice": {"budget_day": "7 executions"}})
    done = threads.all_of(host.execute, ["/fn/alice/f"] * 20)
    assert sorted(answer.status for answer, _ in done) == [200] * 7 + [429] * 13
    assert used(host, tenant="alice") == len(charged(host)) == 7


def test_a_reload_changes_a_budget_and_forgets_nothing(start, programs):
    host = start.host({"alice/f.cgi": programs.cgi})
    for _ in range(3):
        host.execute(QUICK)
    for budget, is_over in (("3 executions", True), ("5 executions", False),
                            ("1 executions, 9 GiB-s", True), ("none", False)):
        host.configure({"tenant alice": {"budget_month": budget}})
        assert host.verb("reload").returncode == 0
        answer, record = host.execute(QUICK)
        if is_over:
            is_refused(answer, record)
        else:
            assert record["outcome"] == "ok"
    # a sidecar lowers what its function may, and cannot raise it
    host.configure({"function alice/f": {"budget_month": "6 executions"}})
    host.sidecar("alice/f", budget_month="900 executions")
    assert host.verb("reload").returncode == 0
    assert host.execute(QUICK)[1]["outcome"] == "ok"
    assert "function's" in is_refused(*host.execute(QUICK))


def kill_gateway(host):
    os.kill(host.roles()["gateway"], signal.SIGKILL)
    host.wait_served("/fn/bob/f?head")


def kill_host(host):
    below = proc.descendants(host.pid)
    os.kill(host.roles()["spawner"], signal.SIGKILL)
    host.process.wait(30)
    # as long as one of them listens, nobody else can
    assert not host_room.wait_gone(below)
    host.start()


def test_what_is_used_survives_every_death_and_is_counted_once(
        start, programs):
    host = start.host({"alice/f.cgi": programs.cgi,
                       "bob/f.cgi": programs.cgi},
                      {"defaults": {"budget_month": "90000 executions"}})
    is_over = []

    def load():
        while not is_over:
            try:
                host.fetch(QUICK)
            except OSError:
                time.sleep(0.05)

    clients = [threads.begin(load) for _ in range(4)]
    for death in (kill_gateway, kill_host, kill_gateway,
                  lambda host: host.verb("reopen"), kill_gateway, kill_host):
        time.sleep(0.4)
        death(host)
    until = time.monotonic() + 60
    while len(charged(host)) <= 20:
        assert time.monotonic() < until, f"{len(charged(host))} are charged"
        time.sleep(0.1)
    is_over.append(True)
    for client in clients:
        client.result(60)
    assert used(host, tenant="alice") == len(charged(host))
    host.stop()
    host.start()
    assert used(host, tenant="alice") == len(charged(host))
    books.check_seq(books.runs(host.books.all())[-1], True)


def test_a_state_that_is_gone_or_damaged_is_rebuilt_from_the_log(
        start, programs):
    host = start.host({"alice/f.cgi": programs.cgi},
                      {"tenant alice": {"budget_month": "4 executions"}})
    for _ in range(4):
        host.execute(QUICK)
    is_refused(*host.execute(QUICK))
    host.stop()
    state = host.state / "budgets"
    assert (state.stat().st_mode & 0o7777, state.stat().st_uid) == (0o600, 0)
    state.unlink()
    host.start()
    host.wait_log(r'event=budgets_rebuilt executions=4 why="STATE/budgets '
                  r'was not there')
    is_refused(*host.execute(QUICK))
    host.stop()
    state.write_bytes(os.urandom(4096))
    host.start()
    host.wait_log(r"event=budgets_rebuilt executions=4 .* is damaged")
    is_refused(*host.execute(QUICK))
    assert used(host, tenant="alice") == 4


def test_a_request_that_waits_for_its_body_is_refused_before_it_comes(
        start, programs):
    host = start.host({"alice/f.cgi": programs.cgi},
                      {"tenant alice": {"budget_day": "1 executions"}})
    host.execute(QUICK)
    request_id = host_room.new_id()
    with host.connect() as connection:
        connection.send(fcgi.request_bytes(QUICK, REQUEST_ID=request_id,
                                           CONTENT_LENGTH="100000")[:-8])
        assert connection.read_answer().status == 429
    assert host.books.wait_request(request_id)["outcome"] == "refused"


def price_book(host, currency="EUR", million="10000"):
    path = host.dir / "prices.ini"
    path.write_text(f"[book]\ncurrency = {currency}\n[prices]\n"
                    f"million_executions = {million}\n")
    return path


def test_a_budget_in_money_is_spent_by_the_price_book(start, programs):
    host = start.host({"alice/f.cgi": programs.cgi},
                      {"tenant alice": {"budget_month": "0.035 EUR"}},
                      is_started=False)
    path = price_book(host)
    host.configure({"host": {"prices": path}})
    host.start()
    for _ in range(4):
        assert host.execute(QUICK)[1]["outcome"] == "ok"
    assert "budget of money of this month" in is_refused(
        *host.execute(QUICK))
    assert used(host, "EUR", tenant="alice") == 0.04
    assert re.search(r"budget_month +tenant alice +0.04 EUR +0.035 EUR"
                     r" +114%", host.verb("status").stdout)
    # a book that is not right changes nothing
    path.write_text("[book]\ncurrency = EUR\n[prices]\nmillion = 1\n")
    for verb in ("check", "reload", "run"):
        done = host.verb(verb)
        assert done.returncode == 2
        assert "prices.ini:4: " in done.stderr
    price_book(host, "USD")
    done = host.verb("reload")
    assert done.returncode == 2
    assert "the price book is in USD, and the budgets are in EUR" in \
        done.stderr
    is_refused(*host.execute(QUICK))
    # one with other prices holds for what comes, with more to spend
    price_book(host, million="1000")
    host.configure({"tenant alice": {"budget_month": "0.042 EUR"}})
    assert host.verb("reload").returncode == 0
    for _ in range(2):
        assert host.execute(QUICK)[1]["outcome"] == "ok"
    kill_host(host)
    is_refused(*host.execute(QUICK))
    assert used(host, "EUR", tenant="alice") == 0.042


@pytest.mark.parametrize("value, words", [
    ("50 EUR", "not known without a price book; name one: prices = FILE"),
    ("0 executions", "would refuse every request"),
    ("5 apples", "is no amount; write as 10000 executions, 0.5 GiB-s or")])
def test_check_says_what_is_wrong_with_a_budget(start, value, words):
    host = start.host({}, {"tenant alice": {"budget_day": value}},
                      is_started=False)
    done = host.verb("check")
    assert done.returncode == 2
    assert "budget_day: " in done.stderr + done.stdout
    assert words in done.stderr + done.stdout
