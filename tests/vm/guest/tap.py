"""Results as TAP, each as soon as it is known, and before it what runs."""
import os

import pytest

DETAIL_LINES = 60


class Tap:
    def __init__(self, path):
        self.out = open(path, "w", encoding="utf-8", errors="replace")
        self.count = 0

    def write(self, text):
        self.out.write(text + "\n")
        self.out.flush()

    def pytest_runtest_logstart(self, nodeid):
        self.write(f"# running {nodeid}")

    def pytest_runtest_logreport(self, report):
        if report.when != "call" and report.passed:
            return
        if report.when == "teardown" or not report.skipped:
            self.result(report)
        else:
            self.skip(report)

    def result(self, report):
        self.count += 1
        name = report.nodeid + (f" ({report.when})" if report.when != "call"
                                else "")
        word = "ok" if report.passed else "not ok"
        self.write(f"{word} {self.count} - {name} ({report.duration:.1f} s)")
        if report.failed:
            text = str(report.longrepr).splitlines()
            for line in text[-DETAIL_LINES:]:
                self.write(f"#   {line}")

    def skip(self, report):
        self.count += 1
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        self.write(f"ok {self.count} - {report.nodeid} # SKIP "
                   f"{why.removeprefix('Skipped: ')}")

    def pytest_collectreport(self, report):
        if report.failed:
            self.count += 1
            self.write(f"not ok {self.count} - {report.nodeid} is collected")
            for line in str(report.longrepr).splitlines()[-DETAIL_LINES:]:
                self.write(f"#   {line}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self):
        self.write(f"1..{self.count}")


def pytest_configure(config):
    config.pluginmanager.register(Tap(os.environ["VM_RESULTS"]), "vm-tap")
