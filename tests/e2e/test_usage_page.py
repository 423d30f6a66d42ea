"""fcgi-host usage --html, looked at in a real browser: at three widths, light
and dark.  USAGE_PICTURES: a directory in which the pictures are kept."""
import collections
import json
import os
import pathlib
import re

import pytest

from lib import browser as browser_room, made_books

pytestmark = pytest.mark.any_user

PRICES = """[book]
currency = EUR
decimals = 2

[prices]
million_executions = 3000
gib_second = 0.02
"""
EVIL = '<script>document.title="run"</script><img src=x onerror=alert(1)>&"\''


@pytest.fixture(scope="module")
def made(installed, tmp_path_factory):
    """The page of a made ledger of two months; and its records."""
    place = tmp_path_factory.mktemp("page")
    records = made_books.ledger(6000, step_s=600)
    for record in records[10:20]:
        if record["type"] == "exec":
            record["function"] = EVIL
            record["tenant"] = "ümlaut\u202etenant"
    log, prices = place / "a.log", place / "prices.ini"
    log.write_bytes(made_books.text(records))
    prices.write_text(PRICES, "utf-8")
    done = installed.run("usage", "--html", "--prices", prices, log)
    assert done.returncode == 0 and not done.stderr, done.stderr
    page = place / "usage.html"
    page.write_text(done.stdout, "utf-8")
    return page, records


@pytest.fixture(scope="module")
def browser(made):
    with browser_room.Browser() as one:
        one.open(made[0])
        yield one


@pytest.mark.parametrize("scheme", browser_room.SCHEMES)
@pytest.mark.parametrize("width", browser_room.WIDTHS)
def test_the_page_fits_and_its_pictures_show_something(browser, width, scheme):
    browser.look(width, scheme)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    # nothing sticks out but what scrolls in its own box
    assert browser.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest("
        "'.wide') && e.getBoundingClientRect().right > innerWidth + 1).length"
    ) == 0
    assert browser.evaluate(
        "[...document.querySelectorAll('svg')].every(e => e."
        "getBoundingClientRect().width > 250 && e.getBoundingClientRect()."
        "height > 100)")
    assert browser.evaluate("parseFloat(getComputedStyle(document.querySelector("
                            "'.days')).fontSize)") >= 12
    png = browser.picture()
    keep = os.environ.get("USAGE_PICTURES")
    if keep:
        pathlib.Path(keep, f"usage-{width}-{scheme}.png").write_bytes(png)
    seen_width, height, data = browser_room.pixels(png)
    assert seen_width == width and height >= 900
    # one pixel of seven
    colours = collections.Counter(data[i:i + 3]
                                  for i in range(0, len(data), 21))
    ground = sum(colours.most_common(1)[0][0]) / 3
    assert ground < 60 if scheme == "dark" else ground > 220
    # the colours of three tenants' bars, as the page says they are
    for name in ("--c0", "--c1", "--c2"):
        text = browser.evaluate("getComputedStyle(document.documentElement)."
                                f"getPropertyValue('{name}')").strip()
        assert colours[bytes.fromhex(text[1:])] > 50, (name, text)


def test_the_page_asks_for_nothing_and_runs_nothing(browser, made):
    browser.open(made[0])
    assert browser.requests == [f"file://{made[0]}"]
    assert browser.evaluate("document.title") == "Usage"
    text = made[0].read_text("utf-8")
    assert not re.search(r"<(script|img|link|iframe|object|embed)\b|"
                         r"<[^>]*\b(src|href|on\w+)=|url\(|@import|https?:",
                         text)
    assert "\u202e" not in text
    assert browser.evaluate("document.body.innerText.includes("
                            f"{json.dumps(EVIL)})")


def test_what_the_page_says_is_what_the_books_say(installed, browser, made):
    page, records = made
    sums = made_books.sums(records, ("tenant",))
    total = sum(group["executions"] for group in sums.values())
    tiles = dict(browser.evaluate(
        "[...document.querySelectorAll('.tiles div')].map(e => "
        "[e.children[0].innerText, e.children[1].innerText])"))
    assert tiles["executions"] == f"{total:,}".replace(",", "\u202f")
    cold = sum(group["cold"] for group in sums.values()) * 1000 // total
    assert tiles["cold"] == f"{cold // 10}.{cold % 10} %"
    done = installed.run("usage", "--json", "--prices",
                         page.parent / "prices.ini", page.parent / "a.log")
    cost = sum(float(json.loads(line)["cost"])
               for line in done.stdout.splitlines())
    assert tiles["cost"] == f"{cost:.2f} EUR"
    # the bars of executions, by what they say when they are pointed at
    titles = browser.evaluate(
        "[...document.querySelectorAll('figure')].find(e => e.innerText."
        "startsWith('Executions by day')).querySelectorAll('title').values()"
        ".toArray?.().map(e => e.textContent) ?? [...[...document."
        "querySelectorAll('figure')].find(e => e.innerText.startsWith("
        "'Executions by day')).querySelectorAll('title')].map("
        "e => e.textContent)")
    shown = {}
    for title in titles:
        head, value = title.rsplit(": ", 1)
        day, tenant = head.split(" ", 1)
        shown[day, tenant] = int(value.replace("\u202f", ""))
    wanted = {(day, tenant.replace("\u202e", "\ufffd")): group["executions"]
              for (day, tenant), group in
              made_books.sums(records, ("day", "tenant")).items()
              if group["executions"]}
    assert shown == wanted


def test_the_dearest_come_first_and_each_tenant_has_one_colour(installed,
                                                               tmp_path):
    """bob, who pays most, runs least; carol pays nothing."""
    records = made_books.ledger(900)
    for i, record in enumerate(records):
        if record["type"] == "exec":
            record["tenant"] = "bob" if i % 10 == 0 else \
                ("alice", "carol")[i % 2]
        if record["type"] != "host":
            record["function"] = record["tenant"] + "/f"
    (tmp_path / "a.log").write_bytes(made_books.text(records))
    (tmp_path / "prices.ini").write_text(
        PRICES + "[prices tenant bob]\ngib_second = 50\n"
        "[prices tenant carol]\ngib_second = 0\nmillion_executions = 0\n",
        "utf-8")
    for prices, order in ((("--prices", tmp_path / "prices.ini"),
                           ["bob", "alice", "carol"]), ((), None)):
        done = installed.run("usage", "--html", *prices, tmp_path / "a.log")
        assert done.returncode == 0 and not done.stderr, done.stderr
        figures = [part.partition("</figure>")[0]
                   for part in done.stdout.split("<figure")[1:]
                   if "by day and tenant" in part.partition("</figure>")[0]]
        assert len(figures) == (2 if prices else 1)
        rows = re.findall(r'<th scope="row">([^<]*)</th>', done.stdout)
        tenants, functions = rows[:3], rows[3:]
        assert order is None or tenants == order
        used = [float(row.split("</td><td>")[2 if prices else 1].replace(
            "\u202f", "")) for row in done.stdout.split("<tr>")
            if row.startswith('<th scope="row">')][:3]
        assert prices or used == sorted(used, reverse=True)
        assert functions == [f"{name}/f" for name in tenants]
        for figure in figures:
            legend = re.findall(r"</i>([^<]*)<", figure)
            assert legend == tenants, figure[-600:]


def test_percentiles_are_at_most_a_sixteenth_too_high(browser, made):
    _, records = made
    rows = browser.evaluate(
        "[...document.querySelectorAll('table')[0].tBodies[0].rows].map(r => "
        "[...r.cells].map(c => c.innerText))")
    used = sum(record["mib_ms"] for record in records
               if record["type"] == "exec" and record["tenant"] == "alice"
               and record["outcome"] not in ("refused", "lost")) // 102400
    ran = sorted(record["run_us"] for record in records
                 if record["type"] == "exec" and record["tenant"] == "alice"
                 and record["outcome"] not in ("refused", "lost"))
    row, = [row for row in rows if row[0] == "alice"]
    assert row[3].replace("\u202f", "") == f"{used // 10}.{used % 10}"
    for cell, share in zip(row[6:9], (0.5, 0.95, 0.99)):
        exact = ran[max(0, -int(-len(ran) * share // 1) - 1)]
        shown = float(cell.split()[0]) * 1000
        assert cell.endswith(" ms")
        assert exact * 0.97 <= shown <= exact * (1 + 1 / 16) + 1000


def test_books_without_an_execution_make_a_page_too(installed, tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(made_books.text(made_books.ledger(1)))
    done = installed.run("usage", "--html", path)
    assert done.returncode == 0 and "There are no executions" in done.stdout


def test_faults_are_told_on_the_page_too(installed, tmp_path):
    records = made_books.ledger(60)
    path = tmp_path / "a.log"
    path.write_bytes(made_books.text(records[:20] + records[30:]))
    done = installed.run("usage", "--html", path)
    assert done.returncode == 1
    assert "The books have faults (1)" in done.stdout


def test_years_apart_do_not_make_a_page_of_all_days(installed, tmp_path):
    records = made_books.ledger(100)
    records[50]["time"] = "1971-01-01T00:00:00.000000Z"
    records[60]["time"] = "9999-12-31T00:00:00.000000Z"
    path = tmp_path / "a.log"
    path.write_bytes(made_books.text(records))
    done = installed.run("usage", "--html", path)
    assert done.returncode == 0 and len(done.stdout) < 200_000
    assert "The pictures show the last 400 days" in done.stdout
