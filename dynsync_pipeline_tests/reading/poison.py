"""What stands where a value should, and no reader can read."""

POISON = {
    "a lone surrogate": b'"HA\\ud83d"',
    "a lone low surrogate": b'"\\udc00HA"',
    "a raw control character": b'"HA\x01"',
    "a raw line break": b'"HA\n"',
    "no UTF-8": b'"HA\xff"',
    "UTF-8 cut in a character": b'"HA\xf0\x9f\x98"',
    "an array": b'["HA", "HO"]',
    "an object": b'{"a": {"b": "]}"}, "c": [{}]}',
    "nested brackets": b"[" * 5_000 + b"]" * 5_000,
    "no value": b"NaN",
    "a number that is none": b"-01e",
    "two texts": b'"HA"HO"HA"',
    "an escape that is none": b'"\\x41"',
    "nothing": b"",
}
