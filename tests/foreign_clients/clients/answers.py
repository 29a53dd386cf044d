"""Questions from standard input, answers to standard output: a line of JSON each, in a form that shows every bit of every number."""

import json
import struct
import sys


def bits(number):
    """A number as sixteen hexadecimal digits; every NaN is the same."""
    number = float(number)
    return "NaN" if number != number else struct.pack(">d", number).hex()


def milliseconds(seconds):
    """Time in the way the HTTP API writes it."""
    return round(seconds * 1000)


def of_api(result):
    """The `result` of an answer of the HTTP API: vector, matrix or scalar."""
    if result and not isinstance(result[0], dict):
        result = [{"metric": {}, "value": result}]
    return [
        (series["metric"], [(milliseconds(time), value) for time, value in series.get("values") or [series["value"]]])
        for series in result
    ]


def answer_all(ask):
    """Reads what is to be asked; `ask(spec, question)` gives pairs of labels (dict or pairs) and samples (ms, number)."""
    spec = json.load(sys.stdin)
    for question in spec["questions"]:
        try:
            series = [
                {"labels": dict(labels), "samples": [[time, bits(value)] for time, value in samples]}
                for labels, samples in ask(spec, question)
            ]
            answer = {"series": series}
        except Exception as error:  # Told with its question; the test fails by it.
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
