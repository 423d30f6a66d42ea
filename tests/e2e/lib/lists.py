"""Lists of test files with a reason each, as plain-only.txt and alone.txt."""
import pathlib

E2E = pathlib.Path(__file__).resolve().parent.parent


def read(path):
    """{file: why}; ValueError says what is wrong."""
    found = {}
    for number, line in enumerate(
            pathlib.Path(path).read_text("utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        name, _, why = line.partition("\t")
        if not (E2E / name).is_file():
            raise ValueError(f"{path}: line {number}: there is no {name}")
        if not why.strip():
            raise ValueError(f"{path}: line {number}: why is {name} named? "
                             "Say it behind a tab")
        found[name] = why.strip()
    return found
