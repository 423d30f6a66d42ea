"""Price books that no administrator wrote, and what usage costs by them in a
calculation of their own: that of tests/rate/judge."""
import collections
import datetime
import importlib.machinery
import importlib.util

from lib import made_books, programs

_LOADER = importlib.machinery.SourceFileLoader(
    "judge", str(programs.TREE / "tests/rate/judge"))
judge = importlib.util.module_from_spec(
    importlib.util.spec_from_loader("judge", _LOADER))
_LOADER.exec_module(judge)

FIELDS = ("executions", "mib_ms", "cpu_us", "bytes_out", "idle_mib_ms")
FINE = judge.FINE


def section(*, tenant="", runtime="", since=None, free=None, minimum=None,
            **lists):
    """Prices as text, or lists of (above, price)."""
    made = judge.Section(tenant, runtime, since)
    made.lists = {key: [(None, steps)] if isinstance(steps, str) else steps
                  for key, steps in lists.items()}
    made.free, made.minimum = free or {}, minimum
    return made


def book(path, *sections, decimals=2):
    made = judge.Book(decimals)
    made.sections = list(sections)
    made.write(path)
    return made


def bills(made, records):
    """{(tenant, month): what the judge expects of the bill}."""
    cells = collections.defaultdict(dict)
    for (tenant, month, day, runtime), sums in made_books.sums(
            records, ("tenant", "month", "day", "runtime")).items():
        cells[tenant, month][datetime.date.fromisoformat(day), runtime] = \
            [sums[name] for name in FIELDS]
    return {(tenant, month): judge.expected(
                made, tenant, datetime.date.fromisoformat(month + "-01"),
                [(day, runtime, used) for (day, runtime), used in
                 sorted(of_month.items())])
            for (tenant, month), of_month in cells.items()}


def total(bill):
    """In fine units."""
    return int(bill[-1].split()[1])
