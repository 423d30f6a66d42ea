"""fcgi-host usage --prices and --format lambda, against a calculation of their
own."""
import csv
import datetime
import io
import json
import re
from decimal import Decimal

import pytest

from lib import made_books, made_prices

pytestmark = pytest.mark.any_user

LINE = re.compile(
    r"REPORT RequestId: (\S+)\tDuration: (\d+\.\d\d) ms"
    r"\tBilled Duration: (\d+) ms\tMemory Size: (\d+) MB"
    r"\tMax Memory Used: (\d+) MB(?:\tInit Duration: (\d+\.\d\d) ms)?"
    r"(?:\tStatus: (timeout|error))?")


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """A log of the turn of a month, a book with steps, free tiers, a price that
    changes and a minimum, and the bills."""
    folder = tmp_path_factory.mktemp("rated")
    records = made_books.ledger(2500, seed=7)
    for record in records[::3]:
        if "runtime" in record:
            record["runtime"] = "php"
    (folder / "a.log").write_bytes(made_books.text(records))
    section = made_prices.section
    book = made_prices.book(folder / "prices.ini",
        section(million_executions=[(None, "200"), ("90", "150.5")],
                gib_second=[(None, "0.0166667"), ("5.125", "0.0133333")],
                cpu_second="0.000123456789",
                idle_gib_second=[(None, "0.001"), ("100", "0.0005")],
                free={"million_executions": "37", "gib_second": "1.5"}),
        section(since=datetime.date(2026, 10, 31), gib_second="0.02"),
        section(since=datetime.date(2026, 11, 2), gb_out="0.99",
                free={"million_executions": "250"}),
        section(runtime="php", gib_second="0.03"),
        section(tenant="bob", minimum="3.33"),
        section(tenant="bob", runtime="php", million_executions="1000"))
    return folder, records, made_prices.bills(book, records)


def costs(installed, folder, *words):
    """What `usage --json` prints, with costs in fine units."""
    done = installed.run("usage", "--json", "--prices", folder / "prices.ini",
                         *words, folder / "a.log")
    assert done.returncode == 0 and not done.stderr, done.stderr
    groups = [json.loads(line) for line in done.stdout.splitlines()]
    assert {group["currency"] for group in groups} == {"EUR"}
    for group in groups:
        group["cost"] = int(Decimal(group["cost"]) * made_prices.FINE)
    return groups


def test_a_tenants_month_costs_what_its_bill_says_to_the_last_digit(
        installed, rated):
    folder, _, bills = rated
    got = {(group["tenant"], group["month"]): group["cost"]
           for group in costs(installed, folder, "--by", "tenant,month")}
    assert got == {key: made_prices.total(bill) for key, bill in bills.items()}
    assert len(got) == 6
    assert any(bill[-2] != "minimum 0" for bill in bills.values())


@pytest.mark.parametrize("keys", ["function", "day", "tenant,runtime",
    "hour,function", "outcome,status", "month",
    "tenant,function,runtime,day,month,hour,outcome,start,trigger,method,status"])
def test_whatever_it_is_grouped_by_the_costs_sum_up_to_the_bills(
        installed, rated, keys):
    folder, records, bills = rated
    groups = costs(installed, folder, "--by", keys)
    assert sum(group["cost"] for group in groups) == sum(
        made_prices.total(bill) for bill in bills.values())
    # The usage is what it is without prices.
    names = keys.split(",")
    bare = made_books.sums(records, names)
    for group in groups:
        key = tuple(group.pop(name) for name in names)
        del group["cost"], group["currency"]
        assert group == bare.get(key, dict.fromkeys(group, 0))


def test_the_table_and_csv_have_the_same_costs(installed, rated):
    folder, _, bills = rated
    words = ("usage", "--by", "tenant,month", "--prices",
             folder / "prices.ini")
    done = installed.run(*words, "--csv", folder / "a.log")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {(row["tenant"], row["month"]): Decimal(row["cost"]) for row in
            rows} == {key: Decimal(made_prices.total(bill)) / made_prices.FINE
                      for key, bill in bills.items()}
    lines = installed.run(*words, folder / "a.log").stdout.splitlines()
    assert lines[0].split()[-1] == "EUR"
    assert [line.split()[-1] for line in lines[1:-1]] == [
        row["cost"] for row in rows]
    assert Decimal(lines[-1].split()[-1]) == sum(Decimal(row["cost"])
                                                 for row in rows)


def test_some_days_cost_their_share_of_the_whole_month(installed, rated):
    folder, records, _ = rated
    whole = {group["day"]: group for group in
             costs(installed, folder, "--by", "day")}
    minimum = whole.pop("")["cost"]
    days = sorted(whole)
    parts = costs(installed, folder, "--by", "day", "--from", days[1],
                  "--to", days[-1])
    assert parts == [whole[day] for day in days[1:-1]]
    # The minimum is there when all of its month is.
    month = costs(installed, folder, "--by", "day", "--from", "2026-10-01",
                  "--to", "2026-11-01")
    assert [group["day"] for group in month] == ["", "2026-10-30",
                                                 "2026-10-31"]
    assert 0 < month[0]["cost"] <= minimum
    assert costs(installed, folder, "--by", "day", "--from", "2026-10-02",
                 "--to", "2026-11-01") == month[1:]


@pytest.mark.parametrize("book, words, sentence", [
    ("[book]\ncurrency = EUR\n[prices]\ngib_second = 0,2\n", (),
     "prices.ini:4: gib_second: a further price begins somewhere"),
    ("[prices]\ngib_second = 1\n", (), "prices.ini: no currency"),
    ("[book]\ncurrency = EUR\n[prices]\ngib_second = 1\n",
     ("--from", "2026-10-01T12:00:00Z"), "--from and --to are days"),
    (None, (), "prices.ini cannot be opened: No such file"),
    ("[book]\ncurrency = EUR\nissuer = \udcff\n[prices]\ngb_out = 1\n", (),
     "prices.ini:3: issuer is not UTF-8"),
])
def test_what_is_wrong_about_the_prices_is_told(installed, tmp_path, book,
                                                words, sentence):
    path = tmp_path / "prices.ini"
    if book is not None:
        path.write_text(book, "utf-8", "surrogateescape")
    done = installed.run("usage", "--prices", path, *words, "/dev/null")
    assert done.returncode == 2 and not done.stdout
    assert sentence in done.stderr


def test_a_book_that_is_right_is_found_so_without_a_log(installed, tmp_path):
    made_prices.book(tmp_path / "prices.ini",
                     made_prices.section(gib_second="1"))
    done = installed.run("usage", "--prices", tmp_path / "prices.ini",
                         "/dev/null")
    assert done.returncode == 0 and not done.stderr
    assert "0.00" in done.stdout.splitlines()[-1]


def test_costs_that_do_not_fit_are_refused_and_not_wrong(installed, tmp_path):
    records = [one for one in made_books.ledger(30) if one["type"] == "exec"]
    for record in records:
        record["mib_ms"] = 2 ** 63 - 1
    (tmp_path / "a.log").write_bytes(made_books.text(records))
    made_prices.book(tmp_path / "prices.ini",
                     made_prices.section(gib_second="999999999999"))
    done = installed.run("usage", "--prices", tmp_path / "prices.ini",
                         tmp_path / "a.log")
    assert done.returncode == 1 and not done.stdout
    assert "do not fit into 128 bits" in done.stderr


def test_a_report_line_says_of_each_execution_what_its_record_says(
        installed, rated):
    folder, records, _ = rated
    done = installed.run("usage", "--format", "lambda", folder / "a.log")
    assert done.returncode == 0 and not done.stderr
    worked = [one for one in records if one["type"] == "exec" and
              one["outcome"] not in ("refused", "lost")]
    lines = done.stdout.splitlines()
    assert len(lines) == len(worked)
    for line, record in zip(lines, worked):
        request_id, run, billed, size, peak, init, status = \
            LINE.fullmatch(line).groups()
        assert request_id == record["request_id"]
        assert int(Decimal(run) * 100) == record["run_us"] // 10
        assert (int(billed), int(size), int(peak)) == (
            record["billed_ms"], record["mem_limit_mib"],
            -(-record["mem_peak_kib"] // 1024))
        assert (init is not None) == record["cold"]
        assert init is None or \
            int(Decimal(init) * 100) == record["init_us"] // 10
        assert status == {"ok": None, "aborted": None, "timeout": "timeout",
                          "stalled": "timeout"}.get(record["outcome"], "error")


@pytest.mark.parametrize("words, sentence", [
    (("--format", "aws"), "--format aws is not known"),
    (("--format", "lambda", "--json"), "two formats"),
    (("--format", "lambda", "--by", "day"), "without --by"),
    (("--format", "lambda", "--prices", "x"), "without --prices"),
])
def test_a_format_that_cannot_be_is_refused(installed, words, sentence):
    done = installed.run("usage", *words, "/dev/null")
    assert done.returncode == 2 and sentence in done.stderr
    assert not done.stdout
