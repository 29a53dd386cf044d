"""prometheus-api-client: https://pypi.org/project/prometheus-api-client"""

from datetime import datetime, timezone

from prometheus_api_client import PrometheusConnect

from answers import answer_all, of_api


def connect(spec):
    return PrometheusConnect(url=f"http://{spec['http']}", disable_ssl=True)


def ask(spec, question):
    client = connect(spec)
    if "time_ms" in question:
        return of_api(client.custom_query(question["query"], params={"time": question["time_ms"] / 1000}))
    times = [datetime.fromtimestamp(question[name] / 1000, timezone.utc) for name in ("start_ms", "end_ms")]
    return of_api(client.custom_query_range(question["query"], *times, step=str(question["step_ms"] / 1000)))


if __name__ == "__main__":
    answer_all(ask)
