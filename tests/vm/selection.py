#!/usr/bin/python3
"""Which end-to-end tests are run in the virtual machine: see selection.txt.

As a program: whether that names each file of tests/e2e, and says why one is
left out.  `make check` asks.
"""
import fnmatch
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
LIST = HERE / "selection.txt"
E2E = HERE.parent / "e2e"
LINE = re.compile(r"([+*&-]) (test_[\w*]+\.py(?:::\w+)?)(?:\t+(.*))?$")


def read(text=None):
    """[(sign, name, why)] of the list; ValueError says what is wrong."""
    found = []
    lines = (LIST.read_text() if text is None else text).splitlines()
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        parts = LINE.match(line)
        if parts is None:
            raise ValueError(f"line {number}: expected `+ NAME`, `* NAME`, "
                             f"`& NAME` or `- NAME<tab>why`: {line}")
        sign, name, why = parts.groups()
        if sign == "-" and not why:
            raise ValueError(f"line {number}: why is {name} left out?")
        found.append((sign, name, why))
    return found


def problems(found, files):
    """Sentences about files that one of the two does not know."""
    named = {name.partition("::")[0] for _, name, _ in found}
    for name in sorted(files):
        if not any(fnmatch.fnmatch(name, one) for one in named):
            yield f"{name} is not named: add `+ {name}`, or `- {name}`, a tab, " \
                "and why not"
    for one in sorted(named):
        if not fnmatch.filter(files, one):
            yield f"{one} is named, but is not in tests/e2e"


def self_test():
    for bad in ("- test_a.py", "test_a.py", "+test_a.py", "+ a.py", "*test_a.py"):
        try:
            read(bad)
        except ValueError:
            continue
        raise SystemExit(f"self-test: taken: {bad}")
    assert read("- test_a.py::test_b\twhy") == [("-", "test_a.py::test_b", "why")]
    assert len(list(problems(read("+ test_a.py"), {"test_b.py"}))) == 2


def main():
    self_test()
    try:
        found = list(problems(read(), {p.name for p in E2E.glob("test_*.py")}))
    except ValueError as error:
        found = [str(error)]
    for line in found:
        print(f"tests/vm/selection.txt: {line}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
