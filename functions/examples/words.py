"""Counts the words of the request's body: a CGI program in Python.

    curl --data-binary @README.md http://127.0.0.1:8080/fn/words
"""

import collections
import json
import os
import re
import sys

body = sys.stdin.buffer.read(int(os.environ.get("CONTENT_LENGTH") or 0))
words = re.findall(r"\w+", body.decode("utf-8", "replace").lower())
answer = {
    "words": len(words),
    "distinct": len(set(words)),
    "most_common": collections.Counter(words).most_common(5),
}
text = json.dumps(answer)
print(f"Content-Type: application/json\n\n{text}")
