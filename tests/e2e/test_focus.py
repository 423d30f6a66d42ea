"""fcgi-host usage --format focus: each rule of FOCUS 1.2 that concerns a
column which is there, and the bills."""
import collections
import csv
import datetime
import io
import re
from decimal import Decimal, localcontext

import pytest

from lib import made_books, made_prices

pytestmark = pytest.mark.any_user

# Feature level "Mandatory" of the specification's columns.
MANDATORY = """BilledCost BillingAccountId BillingAccountName BillingCurrency
    BillingPeriodEnd BillingPeriodStart ChargeCategory ChargeClass
    ChargeDescription ChargePeriodEnd ChargePeriodStart ContractedCost
    EffectiveCost InvoiceIssuerName ListCost PricingQuantity PricingUnit
    ProviderName PublisherName ServiceCategory ServiceName""".split()
# Conditional: we measure usage, have unit prices and resources.
CONDITIONAL = """ConsumedQuantity ConsumedUnit ContractedUnitPrice ListUnitPrice
    PricingCategory ResourceId ResourceName ResourceType SkuId SkuMeter
    SkuPriceDetails SkuPriceId""".split()
RECOMMENDED = "ChargeFrequency InvoiceId ServiceSubcategory".split()
NOT_NULL = [name for name in MANDATORY if name not in (
    "BillingAccountName", "ChargeClass", "PricingQuantity", "PricingUnit")]
NUMERIC = """BilledCost ConsumedQuantity ContractedCost ContractedUnitPrice
    EffectiveCost ListCost ListUnitPrice PricingQuantity""".split()
TIMES = """BillingPeriodStart BillingPeriodEnd ChargePeriodStart
    ChargePeriodEnd""".split()
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(E-?\d+)?")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
UNIT = re.compile(r"(\d+ )?(Requests|GB|(GiB|Core)-Seconds)")
ISSUER = 'Example "Hosting", Springfield'


def product(row, price, cost):
    with localcontext() as context:
        context.prec = 100
        return row[price] is None or Decimal(row[price]) * Decimal(
            row["PricingQuantity"]) == Decimal(row[cost])


def is_usage(row):
    return row["ChargeCategory"] == "Usage"


def length(row):
    return datetime.datetime.fromisoformat(row["ChargePeriodEnd"][:-1]) - \
        datetime.datetime.fromisoformat(row["ChargePeriodStart"][:-1])


# What must hold for each row, in the specification's words.
RULES = {
    "mandatory columns that allow no null have a value":
        lambda row: all(row[name] is not None for name in NOT_NULL),
    "numeric values are plain decimals":
        lambda row: all(row[name] is None or NUMBER.fullmatch(row[name])
                        for name in NUMERIC),
    "times are UTC in the extended ISO 8601 format":
        lambda row: all(TIME.fullmatch(row[name]) for name in TIMES),
    "no value is of spaces alone":
        lambda row: all(value is None or value.strip()
                        for value in row.values()),
    "the currency is a code of ISO 4217":
        lambda row: re.fullmatch("[A-Z]{3}", row["BillingCurrency"]),
    "ChargeCategory is one of the allowed values":
        lambda row: row["ChargeCategory"] in ("Usage", "Purchase", "Tax",
                                              "Credit", "Adjustment"),
    "ChargeClass is null where nothing is corrected":
        lambda row: row["ChargeClass"] is None,
    "ChargeFrequency is one of the allowed values":
        lambda row: row["ChargeFrequency"] in ("One-Time", "Recurring",
                                               "Usage-Based"),
    "the billing period is a month with an exclusive end":
        lambda row: row["BillingPeriodStart"][8:] == "01T00:00:00Z" and
        row["BillingPeriodEnd"][8:] == "01T00:00:00Z" and
        row["BillingPeriodStart"] < row["BillingPeriodEnd"],
    "the charge period lies in the billing period":
        lambda row: row["BillingPeriodStart"] <= row["ChargePeriodStart"] <
        row["ChargePeriodEnd"] <= row["BillingPeriodEnd"],
    "a charge of usage is for one day":
        lambda row: not is_usage(row) or length(row).days == 1,
    "ConsumedQuantity is there for usage and for nothing else":
        lambda row: (row["ConsumedQuantity"] is not None) == is_usage(row),
    "ConsumedUnit is null where ConsumedQuantity is, and only there":
        lambda row: (row["ConsumedUnit"] is None) ==
        (row["ConsumedQuantity"] is None),
    "PricingQuantity is there for usage":
        lambda row: not is_usage(row) or row["PricingQuantity"] is not None,
    "PricingUnit is null where PricingQuantity is, and only there":
        lambda row: (row["PricingUnit"] is None) ==
        (row["PricingQuantity"] is None),
    "units are written as the unit format wants":
        lambda row: all(row[name] is None or UNIT.fullmatch(row[name])
                        for name in ("ConsumedUnit", "PricingUnit")),
    "unit prices are there for usage, and not negative":
        lambda row: not is_usage(row) or all(
            Decimal(row[name]) >= 0
            for name in ("ListUnitPrice", "ContractedUnitPrice")),
    "ListUnitPrice times PricingQuantity is ListCost":
        lambda row: product(row, "ListUnitPrice", "ListCost"),
    "ContractedUnitPrice times PricingQuantity is ContractedCost":
        lambda row: product(row, "ContractedUnitPrice", "ContractedCost"),
    "without a unit price ListCost and ContractedCost are BilledCost":
        lambda row: all(row[price] is not None or row[cost] ==
                        row["BilledCost"] for price, cost in (
            ("ListUnitPrice", "ListCost"),
            ("ContractedUnitPrice", "ContractedCost"))),
    "EffectiveCost is BilledCost where nothing is amortised":
        lambda row: row["EffectiveCost"] == row["BilledCost"],
    "PricingCategory is one of the allowed values":
        lambda row: row["PricingCategory"] == ("Standard" if is_usage(row)
                                               else None),
    "usage has a SKU, a meter and a price of the SKU":
        lambda row: not is_usage(row) or (row["SkuId"] and row["SkuMeter"] and
                                          row["SkuPriceId"]),
    "SkuMeter and SkuPriceDetails are null without a SKU":
        lambda row: row["SkuId"] is not None or not (
            row["SkuMeter"] or row["SkuPriceDetails"]),
    "ResourceType is null where ResourceId is, and only there":
        lambda row: (row["ResourceType"] is None) ==
        (row["ResourceId"] is None),
    "ResourceName does not repeat ResourceId":
        lambda row: row["ResourceName"] is None or
        row["ResourceName"] != row["ResourceId"],
    "the service is of one category and subcategory of the allowed ones":
        lambda row: (row["ServiceCategory"], row["ServiceSubcategory"]) ==
        ("Compute", "Serverless Compute"),
    "issuer, provider and publisher are who the price book names":
        lambda row: row["InvoiceIssuerName"] == row["ProviderName"] ==
        row["PublisherName"] == ISSUER,
}


@pytest.fixture(scope="module")
def focus(installed, tmp_path_factory):
    """The rows of a made log, null as None; the bills; and the folder."""
    folder = tmp_path_factory.mktemp("focus")
    records = made_books.ledger(2000, seed=3)
    for record in records[::5]:
        if "runtime" in record:
            record["runtime"] = ""
    (folder / "a.log").write_bytes(made_books.text(records))
    section = made_prices.section
    book = made_prices.book(folder / "prices.ini",
        section(million_executions="200",
                gib_second=[(None, "0.0166667"), ("5", "0.0133333")],
                cpu_second="0.000123456789", gb_out="0",
                free={"million_executions": "37", "gib_second": "1.5"}),
        section(runtime="python", gib_second="0.02"),
        section(tenant="alice", gib_second="0.01"),
        section(tenant="bob", minimum="3.33"))
    bills = made_prices.bills(book, records)
    text = (folder / "prices.ini").read_text("utf-8").replace(
        "decimals = 2", f"decimals = 2\nissuer = '{ISSUER}'")
    (folder / "prices.ini").write_text(
        text + "[customer alice]\nname = Alice & Partners\n", "utf-8")
    done = installed.run("usage", "--format", "focus", "--prices",
                         folder / "prices.ini", folder / "a.log")
    assert done.returncode == 0 and not done.stderr, done.stderr
    rows = [{name: value or None for name, value in row.items()}
            for row in csv.DictReader(io.StringIO(done.stdout), strict=True)]
    assert len(rows) > 100
    assert {row["ChargeCategory"] for row in rows} == {"Usage", "Adjustment"}
    return rows, records, bills, folder


@pytest.mark.parametrize("rule", RULES)
def test_each_row_keeps_the_rule_that(focus, rule):
    for row in focus[0]:
        assert RULES[rule](row), row


@pytest.mark.parametrize("level, names", [
    ("mandatory", MANDATORY), ("conditional", CONDITIONAL),
    ("recommended", RECOMMENDED)])
def test_the_columns_are_there_that_are(focus, level, names):
    assert set(names) <= set(focus[0][0])


def test_every_other_column_has_the_prefix_of_a_custom_one_and_stands_last(
        focus):
    known = set(MANDATORY + CONDITIONAL + RECOMMENDED)
    assert [name for name in focus[0][0] if name not in known] == ["x_Runtime"]
    assert list(focus[0][0])[-1] == "x_Runtime"
    assert all(re.fullmatch(r"[A-Z][A-Za-z]{0,49}", name) for name in known)


def test_a_sku_has_one_meter_and_a_price_of_a_sku_has_one_sku(focus):
    for key, value in (("SkuId", "SkuMeter"), ("SkuPriceId", "SkuId"),
                       ("SkuId", "PricingUnit"), ("SkuId", "ConsumedUnit")):
        values = collections.defaultdict(set)
        for row in focus[0]:
            values[row[key]].add(row[value])
        assert all(len(one) == 1 for one in values.values())


def test_billed_cost_sums_up_to_the_payable_amount_of_each_invoice(focus):
    rows, _, bills, _ = focus
    sums = collections.defaultdict(Decimal)
    for row in rows:
        assert row["InvoiceId"] == (f"{row['BillingAccountId']}-"
                                    f"{row['BillingPeriodStart'][:7]}")
        sums[row["InvoiceId"]] += Decimal(row["BilledCost"])
    assert sums == {f"{tenant}-{month}":
                    Decimal(made_prices.total(bill)) / made_prices.FINE
                    for (tenant, month), bill in bills.items()}


def test_each_function_and_day_has_one_row_for_requests_and_one_for_gib_seconds(
        focus):
    rows, records, _, _ = focus
    got = collections.Counter()
    for row in rows:
        if row["SkuId"] in ("function-executions", "function-gib-seconds"):
            key = (row["BillingAccountId"], row["ResourceId"],
                   row["ChargePeriodStart"][:10], row["x_Runtime"] or "")
            assert (key, row["SkuId"]) not in got
            got[key, row["SkuId"]] = Decimal(row["ConsumedQuantity"])
    wanted = {}
    for key, used in made_books.sums(records, ("tenant", "function", "day",
                                               "runtime")).items():
        wanted[key, "function-executions"] = used["executions"]
        wanted[key, "function-gib-seconds"] = Decimal(used["mib_ms"]) / 1024000
    assert got == {key: value for key, value in wanted.items() if value}


def test_the_list_price_is_everybodys_and_the_contracted_one_the_tenants(focus):
    prices = {(row["BillingAccountId"], row["x_Runtime"]):
              (row["ListUnitPrice"], row["ContractedUnitPrice"])
              for row in focus[0] if row["SkuId"] == "function-gib-seconds"}
    assert prices["alice", "python"] == ("0.02", "0.01")
    assert prices["alice", None] == ("0.0166667", "0.01")
    assert prices["bob", "python"] == ("0.02", "0.02")
    names = {(row["BillingAccountId"], row["BillingAccountName"])
             for row in focus[0]}
    assert names == {("alice", "Alice & Partners"), ("bob", None),
                     ("default", None)}


def test_days_bound_the_rows_and_the_minimum_wants_its_whole_month(
        installed, focus):
    rows, _, _, folder = focus
    done = installed.run("usage", "--format", "focus", "--prices",
                         folder / "prices.ini", "--from", "2026-10-31", "--to",
                         "2026-12-01", folder / "a.log")
    assert done.returncode == 0, done.stderr
    got = [{name: value or None for name, value in row.items()}
           for row in csv.DictReader(io.StringIO(done.stdout))]
    assert got == [row for row in rows
                   if row["ChargePeriodStart"] >= "2026-10-31"]


@pytest.mark.parametrize("words, sentence", [
    (("-c", "INI"), "h.ini names no price book"),
    (("-c", "/none.ini"), "/none.ini: cannot be opened"),
    (("--prices", "PRICES", "--by", "day"), "without --by"),
    (("--prices", "PRICES"), "write issuer = NAME below [book]"),
])
def test_what_focus_needs_is_said(installed, tmp_path, words, sentence):
    (tmp_path / "p.ini").write_text(
        "[book]\ncurrency = EUR\n[prices]\ngb_out = 1\n", "utf-8")
    (tmp_path / "h.ini").write_text("[host]\n", "utf-8")
    places = {"PRICES": tmp_path / "p.ini", "INI": tmp_path / "h.ini"}
    done = installed.run("usage", "--format", "focus", "/dev/null",
                         *[places.get(word, word) for word in words])
    assert done.returncode == 2 and sentence in done.stderr


def test_the_configuration_names_log_and_price_book(installed, focus,
                                                    tmp_path):
    folder = focus[3]
    ini = tmp_path / "h.ini"
    ini.write_text(f"[host]\naccounting = {folder}/a.log\n"
                   f"prices = {folder}/prices.ini\n", "utf-8")
    done = installed.run("usage", "--format", "focus", "-c", ini)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout == installed.run(
        "usage", "--format", "focus", "--prices", folder / "prices.ini",
        folder / "a.log").stdout
