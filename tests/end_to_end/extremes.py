"""Texts and values at the edges of what there is, and the tables and queries that make metrics of them."""

TEXTS = {
    "quote": '"',
    "backslash": "\\",
    "newline": "\n",
    "tab": "\t",
    "emoji": "🐘 👩‍💻 é",
    "10 kB": "0123456789" * 1000,
    "10 kB of quotes, backslashes and newlines": '"\\\n' * 3334,
    "backslash and n": "\\n",
    "backslash and quote": '\\"',
    "backslash at the end": "C:\\",
    "braces, comma and equals sign": '{a="b",c=\'d\'} 1 # {}',
    "spaces around": "  a  b  ",
    "carriage return": "a\r\nb\rc",
    "other line breaks": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "control characters": "\x01\x1b[31m\x7f",
    "NULL": None,
}

VALUES = {
    "NaN": "nan",
    "+Inf": "inf",
    "-Inf": "-inf",
    "-0": "-0.0",
    "1e308": "1e+308",
    "2^63": "9.223372036854775808e+18",
    "2^53 + 1": "9007199254740993",
    "least float": "5e-324",
    "largest float": "1.7976931348623157e+308",
    "0.1 + 0.2": "0.30000000000000004",
    "near a change of notation": "999999999999999.9",
}

HELP = 'Line 1\nLine 2 of C:\\new\\table, "quoted"\n\nwith a 🐘 and a \\'

# As queries.yml has them.
QUERIES = {
    "texts": {
        "query": "SELECT name, text, 1 AS one FROM texts",
        "metrics": [{"name": {"usage": "LABEL"}}, {"text": {"usage": "LABEL"}}, {"one": {"usage": "GAUGE"}}],
    },
    "texts_told": {
        "query": "SELECT name, text AS fact FROM texts WHERE text IS NOT NULL",
        "metrics": [{"name": {"usage": "LABEL"}}, {"fact": {"usage": "INFO", "description": HELP}}],
    },
    "numbers": {
        "query": "SELECT name, number FROM numbers",
        "metrics": [{"name": {"usage": "LABEL"}}, {"number": {"usage": "GAUGE", "description": HELP}}],
    },
    "counters": {
        "query": "SELECT name, number AS number_total FROM numbers WHERE number BETWEEN 0 AND 'inf'",
        "metrics": [{"name": {"usage": "LABEL"}}, {"number_total": {"usage": "COUNTER", "description": HELP}}],
    },
}


def tables(reader: str) -> str:
    """The SQL that makes the tables for `reader`."""
    texts = ",".join(f"({_literal(name)}, {_literal(text)})" for name, text in TEXTS.items())
    values = ",".join(f"({_literal(name)}, '{value}')" for name, value in VALUES.items())
    return (
        "CREATE TABLE texts (name text, text text); CREATE TABLE numbers (name text, number double precision); "
        f"INSERT INTO texts VALUES {texts}; INSERT INTO numbers VALUES {values}; "
        f"GRANT SELECT ON texts, numbers TO {reader}"
    )


def _literal(text: str | None) -> str:
    """An SQL literal, with every character that is not a plain one as its code."""
    if text is None:
        return "NULL"
    escaped = "".join(char if char.isascii() and char.isalnum() else f"\\U{ord(char):08X}" for char in text)
    return f"E'{escaped}'"
