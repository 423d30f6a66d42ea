"""fcgi-host invoice: a made-up month of three tenants, to the last digit against
a calculation in Python's fractions and decimals; and looked at in a real
browser.  INVOICE_PICTURES: a directory in which the pictures are kept."""
import datetime
import html.parser
import os
import pathlib
import re
from decimal import Decimal
from fractions import Fraction

import pytest

from lib import browser as browser_room, made_books, made_prices

pytestmark = pytest.mark.any_user

MONTH, START = "2026-07", datetime.datetime(2026, 6, 28,
                                            tzinfo=datetime.timezone.utc)
CHANGE = datetime.date(2026, 7, 15)
UNITS = {"million_executions": "executions", "gib_second": "GiB-seconds",
         "cpu_second": "CPU-seconds", "gb_out": "GB out",
         "idle_gib_second": "idle GiB-seconds"}
# It is paper: whole without a network, and without anything that runs.
FOREIGN = re.compile(r"https?:|\bsrc=|\bhref=|url\(|@import|<script|<link|"
                     r"\son\w+=", re.I)
VOID = ("meta", "br")


class Page(html.parser.HTMLParser):
    """Rows of cells, all text, and whether the tags are balanced."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.rows, self.text, self.open = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        elif "style" not in self.open:
            self.text.append(data.strip())


def decimal_text(value, least=0):
    """The exact decimal text of a fraction."""
    digits = 0
    while (value * 10 ** digits).denominator != 1:
        digits += 1
    digits = max(digits, least)
    return str(Decimal((value * 10 ** digits).numerator).scaleb(-digits)
               .quantize(Decimal(1).scaleb(-digits))) if digits else str(value)


def row_of(book, line):
    """What a line that the judge expects is on the page."""
    _, key, number, step, quantity, price, amount = line.split()
    _, fine, _, _ = made_prices.judge.ITEMS[key]
    words, costs = UNITS[key][0].upper() + UNITS[key][1:], "free"
    if number == "0":
        words += ", free tier"
    else:
        section = next(one for one in book.sections
                       if book.lines.get((id(one), key)) == int(number))
        if step != "0":
            words += f" above {section.lists[key][int(step)][0]}"
        words += f", {section.runtime}" if section.runtime else ""
        words += f", from {section.since}" if section.since else ""
        costs = decimal_text(Fraction(int(price), made_prices.FINE), 2) + \
            " per " + {"million_executions": "million executions",
                       "gb_out": "GB out"}.get(key, UNITS[key][:-1])
    return [words, decimal_text(Fraction(int(quantity), fine)), costs,
            decimal_text(Fraction(int(amount), made_prices.FINE), 2)]


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """A log that begins before July and ends behind it, a book with steps, a
    free tier, a price that changes within the month and a minimum."""
    folder = tmp_path_factory.mktemp("invoice")
    records = made_books.ledger(2600, seed=11, start=START, step_s=1200)
    for record in records[::4]:
        if "runtime" in record:
            record["runtime"] = "php"
    assert records[0]["time"] < MONTH and records[-1]["time"] > "2026-08"
    (folder / "a.log").write_bytes(made_books.text(records))
    section = made_prices.section
    book = made_prices.book(folder / "prices.ini",
        section(million_executions=[(None, "2000"), ("400", "1500.50")],
                gib_second=[(None, "0.0166667"), ("7.125", "0.0133333"),
                            ("20", "0.01")],
                cpu_second="0.000123456789", gb_out="0.09",
                idle_gib_second=[(None, "0.0041667"), ("10.5", "0.00025")],
                free={"million_executions": "250", "gib_second": "4.5"}),
        section(since=CHANGE, gib_second=[(None, "0.0190001"),
                                          ("15", "0.0170003")],
                million_executions="2500"),
        section(runtime="php", gib_second="0.0233333"),
        section(tenant="bob", million_executions="1234.567",
                free={"million_executions": "0"}),
        section(tenant="default", minimum="25"))
    text = (folder / "prices.ini").read_text("utf-8").replace(
        "decimals = 2", "decimals = 2\nissuer = Example & Söhne\n"
        "address = High Street 1 | 12345 Springfield\n"
        "note = Payable within 14 days.")
    (folder / "prices.ini").write_text(
        text + "[customer alice]\nname = Alice <b>\"& Partners\"</b>\n"
        "address = Low Road 2|54321 Shelbyville\n", "utf-8")
    # As the judge has it, which knows no issuer: two sections lower.
    book.lines = {key: line + 3 for key, line in book.lines.items()}
    return folder, records, book


def run(installed, books, tenant, *words, code=0):
    folder = books[0]
    done = installed.run("invoice", tenant, "--month", MONTH, "--prices",
                         folder / "prices.ini", *words, folder / "a.log")
    assert done.returncode == code, done.stderr
    return done


def expected(books, tenant):
    """(rows of the bill, its sum in fine units, what is for the minimum)."""
    _, records, book = books
    bill = made_prices.bills(book, records)[tenant, MONTH]
    return ([row_of(book, line) for line in bill if line.startswith("line ")],
            made_prices.total(bill), int(bill[-2].split()[1]))


def cents(fine):
    return decimal_text(Fraction(fine, made_prices.FINE), 2)


@pytest.mark.parametrize("tenant", ["alice", "bob", "default"])
def test_each_line_and_the_total_are_right_to_the_last_digit(
        installed, books, tenant):
    page = Page(run(installed, books, tenant, "--date", "2026-08-01").stdout)
    rows, total, minimum = expected(books, tenant)
    end = next(i for i, row in enumerate(page.rows) if row[0] == "Total")
    if minimum:
        rows.append(["Up to the month’s minimum", "", "", cents(minimum)])
    assert page.rows[:end] == [["Use", "Quantity", "Price", "EUR"], *rows]
    assert page.rows[end] == ["Total", "", "", cents(total)]
    assert (minimum > 0) == (tenant == "default")
    # Steps, free tier and both prices are among them.
    words = " ".join(row[0] for row in rows)
    assert "from 2026-07-15" in words and "above" in words
    assert ("free tier" in words) and "php" in words
    # The lines sum up, and so do the functions, of which none is the last.
    assert (page.rows[-1][0] == "(minimum)") == (minimum > 0)
    assert not minimum or page.rows[-1][1:] == ["", "", cents(minimum)]
    names = [row[0] for row in page.rows[end + 2:] if row[0] != "(minimum)"]
    assert names == sorted(names)
    assert sum(Decimal(row[3]) for row in rows) == Decimal(cents(total))
    assert sum(Decimal(row[3]) for row in page.rows[end + 2:]) == \
        Decimal(cents(total))


@pytest.mark.parametrize("tenant", ["alice", "bob", "default"])
def test_the_text_says_what_the_page_says(installed, books, tenant):
    page = Page(run(installed, books, tenant).stdout)
    lines = run(installed, books, tenant, "--text").stdout.splitlines()
    for row in page.rows:
        wanted = [cell.replace("’", "'") for cell in row if cell]
        if row[0] in ("Use", "Function"):
            wanted = [cell.upper() for cell in wanted]
        assert any(re.split(r"  +", line) == wanted for line in lines), wanted
    assert lines[0] == "Example & Söhne"
    assert "Period:  2026-07-01 to 2026-07-31 (UTC)" in lines
    assert lines[-1] == "Payable within 14 days."


def test_functions_have_their_use_of_the_month(installed, books):
    page = Page(run(installed, books, "alice").stdout)
    at = [row[0] for row in page.rows].index("Function")
    used = made_books.sums([one for one in books[1] if one["time"][:7] ==
                            MONTH and one.get("tenant") == "alice"],
                           ("function",))
    assert {row[0]: (int(row[1]), Fraction(row[2]))
            for row in page.rows[at + 1:]} == {
        name: (sums["executions"], Fraction(sums["mib_ms"], 1024000))
        for (name,), sums in used.items()}


def test_the_page_is_whole_by_itself_and_no_name_is_markup(installed, books):
    text = run(installed, books, "alice").stdout
    assert not FOREIGN.search(text)
    assert "@page { size: A4" in text and "color-scheme: light" in text
    page = Page(text)
    assert 'Alice <b>"& Partners"</b>' in page.text
    assert "<b>" not in text and "Example & Söhne" in page.text
    for line in ("High Street 1", "12345 Springfield", "Low Road 2",
                 "54321 Shelbyville", "alice-2026-07",
                 "2026-07-01 to 2026-07-31", "Payable within 14 days."):
        assert line in page.text


@pytest.fixture(scope="module")
def browser(installed, books):
    """With default's invoice, which has every kind of row."""
    page = books[0] / "invoice.html"
    page.write_text(run(installed, books, "default").stdout, "utf-8")
    with browser_room.Browser() as one:
        one.open(page)
        assert one.requests == [f"file://{page}"]
        yield one


def keep(name, data):
    place = os.environ.get("INVOICE_PICTURES")
    if place:
        pathlib.Path(place, name).write_bytes(data)


@pytest.mark.parametrize("width", browser_room.WIDTHS)
def test_each_amount_is_seen_at_every_width(browser, width):
    """Without a turn of the page: its cell is inside, and not cut."""
    browser.look(width, "dark")
    assert browser.evaluate("innerWidth") == width
    keep(f"invoice-{width}.png", browser.picture())
    cells = browser.evaluate(
        "[...document.querySelectorAll('td, tfoot td')].filter(e => e.innerText"
        ").map(e => [e.innerText, e.getBoundingClientRect().left, "
        "e.getBoundingClientRect().right, e.scrollWidth - e.clientWidth])")
    assert len(cells) > 20
    for text, left, right, cut in cells:
        assert 0 <= left < right <= width and cut <= 0, text
    # The sum stands below the amounts, at the same edge.
    assert len(set(browser.evaluate(
        "[...document.querySelectorAll('table')[0].rows].map(e => e.lastChild."
        "getBoundingClientRect().right)"))) == 1
    # A date is in one line.
    assert browser.evaluate(
        "[...document.querySelectorAll('.day')].every(e => "
        "e.getClientRects().length == 1)")
    # It is paper also where all else is dark.
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor"
                            ) == "rgb(255, 255, 255)"


def test_it_is_printed_whole_on_a4(browser):
    pdf = browser.printed()
    keep("invoice.pdf", pdf)
    boxes = re.findall(rb"/MediaBox ?\[([^]]*)\]", pdf)
    assert 1 <= len(boxes) <= 2
    for box in boxes:
        assert [round(float(side)) for side in box.split()] == [0, 0, 595, 842]
    # The width that the margins leave, at 96 to the inch.
    width = int((210 - 2 * 18) / 25.4 * 96)
    browser.ask("Emulation.setDeviceMetricsOverride", width=width, height=900,
                deviceScaleFactor=1, mobile=False)
    browser.ask("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(
        "[...document.querySelectorAll('th, td')].every(e => "
        "e.getBoundingClientRect().right <= innerWidth && e.scrollWidth <= "
        "e.clientWidth)")
    assert browser.evaluate(
        "getComputedStyle(document.querySelector('thead')).display"
    ) == "table-header-group"
    browser.ask("Emulation.setEmulatedMedia", media="")


def test_a_month_that_is_not_over_makes_it_provisional(installed, books):
    sentence = "Provisional: the month is not over."
    assert sentence in run(installed, books, "bob", "--date",
                           "2026-07-31").stdout
    assert sentence not in run(installed, books, "bob", "--date",
                               "2026-08-01").stdout


def test_a_damaged_log_makes_it_incomplete_and_fails(installed, books, tmp_path):
    folder = books[0]
    text = (folder / "a.log").read_bytes()
    (tmp_path / "a.log").write_bytes(text + b"{half\n")
    (tmp_path / "prices.ini").write_bytes(
        (folder / "prices.ini").read_bytes())
    done = run(installed, (tmp_path,), "bob", code=1)
    assert "Incomplete: the accounting log has faults (1)." in done.stdout
    assert f"{tmp_path}/a.log:2601" in done.stderr


@pytest.mark.parametrize("begin, is_late", [
    ("2026-07-03", True), ("2026-07-31T12", True),
    ("2026-07-01", False), ("2026-06-29", False)])
def test_a_log_that_begins_within_the_month_may_make_it_incomplete(
        installed, books, tmp_path, begin, is_late):
    """Older files were deleted before the bill was written."""
    records = made_books.ledger(2600, seed=11, start=START, step_s=1200)
    left = [one for one in records if one["time"] >= begin]
    (tmp_path / "a.log").write_bytes(made_books.text(left))
    (tmp_path / "prices.ini").write_bytes(
        (books[0] / "prices.ini").read_bytes())
    done = run(installed, (tmp_path,), "bob")
    said = f"Perhaps incomplete: the accounting log begins at {left[0]['time']}."
    assert (said in done.stdout) == is_late
    early = run(installed, (tmp_path,), "bob", "--date", "2026-07-31").stdout
    assert (f"{said}  Provisional: the month" in early) == is_late
    assert (f"warning: the log begins at {left[0]['time']}" in done.stderr) == \
        is_late


def test_a_host_that_began_within_the_month_makes_it_complete(
        installed, books, tmp_path):
    start = START + datetime.timedelta(days=14)
    (tmp_path / "a.log").write_bytes(made_books.text(
        made_books.ledger(300, start=start)))
    (tmp_path / "prices.ini").write_bytes(
        (books[0] / "prices.ini").read_bytes())
    done = run(installed, (tmp_path,), "bob")
    assert "ncomplete" not in done.stdout and not done.stderr


def test_a_tenant_without_a_record_is_warned_of_and_pays_the_minimum(
        installed, books, tmp_path):
    done = run(installed, books, "carol")
    assert "no record of tenant carol is of 2026-07" in done.stderr
    assert Page(done.stdout).rows == [["Use", "Quantity", "Price", "EUR"],
                                      ["Total", "", "", "0.00"]]
    made_prices.book(tmp_path / "prices.ini", made_prices.section(
        gb_out="1", minimum="7.5"))
    (tmp_path / "a.log").write_bytes(b"")
    done = run(installed, (tmp_path,), "carol")
    assert Page(done.stdout).rows[1:] == [
        ["Up to the month’s minimum", "", "", "7.50"],
        ["Total", "", "", "7.50"]]


def test_the_configuration_names_log_and_price_book(installed, books,
                                                     tmp_path):
    ini = tmp_path / "h.ini"
    ini.write_text(f"[host]\naccounting = {books[0]}/a.log\n", "utf-8")
    words = ("invoice", "alice", "--month", MONTH, "-c", ini)
    done = installed.run(*words)
    assert done.returncode == 2 and not done.stdout
    assert f"{ini} names no price book" in done.stderr
    with ini.open("a", encoding="utf-8") as file:
        file.write(f"prices = {books[0]}/prices.ini\n")
    done = installed.run(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout == run(installed, books, "alice").stdout


@pytest.mark.parametrize("words, sentence", [
    ((), "name the tenant"),
    (("Alice",), "name the tenant"),
    (("alice",), "is no month; write it like 2026-11"),
    (("alice", "--month", "2026-13"), "--month 2026-13 is no month"),
    (("alice", "--month", "2026-07", "-c", "/none.ini"), "/none.ini"),
    (("alice", "--month", "2026-07", "--date", "x"), "--date x is no day"),
    (("alice", "--month", "2026-07", "--prices", "/none"),
     "/none cannot be opened"),
])
def test_wrong_use_is_told_in_a_sentence(installed, words, sentence):
    done = installed.run("invoice", *words)
    assert done.returncode == 2 and sentence in done.stderr
    assert not done.stdout
