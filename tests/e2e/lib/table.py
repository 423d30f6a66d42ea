"""README's table of what works behind which web server, as tests found it."""
import json
import pathlib

BEGIN = "<!-- made by tests/make-server-table -->"
END = "<!-- end of the table -->"
README = pathlib.Path(__file__).resolve().parents[3] / "README.md"

SERVERS = ("nginx", "Apache", "lighttpd", "Caddy", "HAProxy")
# In the order of the table: a key for the tests, a line for the reader.
ROWS = {
    "path": "query, PATH_INFO, escaped URLs",
    "body": "bodies of any bytes, with a length",
    "chunked": "bodies without a length (chunked)",
    "large": "answers of 20 MB",
    "stream": "server-sent events pass as they are written",
    "status": "statuses, redirects, cookies, HEAD",
    "refusal": "the host's own answers: 404, 413, 502, 503 with Retry-After",
    "cut_length": "a cut answer is an error, with Content-Length",
    "cut": "… without",
    "abort": "a client that leaves in mid-answer ends the function",
    "abort_early": "… before the answer's first byte",
    "kept": "connections to the host are kept and used again",
    "id": "one id in access log, stderr and record",
    "https": "HTTPS and the client's address",
    "proxy": "a `Proxy:` header does no harm",
}


class Findings:
    """found[row][server] = (works, note): what one run of the tests saw."""

    def __init__(self, found=None):
        self.found = found or {}

    def add(self, row, server, works, note=None):
        assert row in ROWS and server in SERVERS
        self.found.setdefault(row, {})[server] = (bool(works), note)

    def is_complete(self):
        return all(len(self.found.get(row, {})) == len(SERVERS)
                   for row in ROWS)

    def save(self, path):
        pathlib.Path(path).write_text(json.dumps(self.found, indent=1))

    @classmethod
    def load(cls, path):
        return cls(json.loads(pathlib.Path(path).read_text()))

    def render(self):
        """The table as Markdown, with its notes."""
        notes = []
        lines = ["| | " + " | ".join(SERVERS) + " |",
                 "| --- |" + " :-: |" * len(SERVERS)]
        for row, title in ROWS.items():
            cells = [self._cell(row, server, notes) for server in SERVERS]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
        lines.append("")
        lines += [f"{at}. {note}" for at, note in enumerate(notes, 1)]
        return "\n".join(lines) + "\n"

    def _cell(self, row, server, notes):
        works, note = self.found[row][server]
        text = "yes" if works else "no"
        if note is None:
            return text
        if note not in notes:
            notes.append(note)
        return f"{text} ({notes.index(note) + 1})"


def in_readme(text):
    """The part of a README between the two marks."""
    before, begin, rest = text.partition(BEGIN + "\n")
    inside, end, after = rest.partition(END)
    assert begin and end, "README.md has lost the marks of the table"
    return before + begin, inside, end + after
