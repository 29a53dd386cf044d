"""What else prometheus-api-client asks a server for: one JSON object."""

import json
import sys
from datetime import datetime, timezone

from api_client import connect


def main():
    spec = json.load(sys.stdin)
    client = connect(spec)
    start, end = (datetime.fromtimestamp(spec[name] / 1000, timezone.utc) for name in ("start_ms", "end_ms"))
    now = {"time": end.timestamp()}
    json.dump(
        {
            "is_up": client.check_prometheus_connection(),
            "metrics": client.all_metrics(),
            "label_names": client.get_label_names(),
            "places": client.get_label_values("place"),
            "series": client.get_series(start, end, params={"match[]": "temperature_celsius"}),
            "current": client.get_current_metric_value("up", label_config={"dc": "süd"}, params=now),
            "range": client.get_metric_range_data("up", label_config={"dc": "ost"}, start_time=start, end_time=end),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
