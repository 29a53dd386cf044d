//! The keys of `promxy.server_groups[]` and of its small sections, with what the reference page says of them.

use super::known_keys::{Key, KeyTable};

/// The keys of a server group.
pub static SERVER_GROUP_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[]",
    about: "One set of Prometheus servers that hold the same data (a high-availability group). Quiver asks all of them \
            and merges what they answer. Servers that hold different data belong into different groups.",
    keys: &[
        Key {
            name: "name",
            form: "text",
            default: "none",
            about: "What the group is called in logs, errors and metrics. Two groups should not share a name.",
            example: "name: eu-west",
        },
        Key {
            name: "static_configs",
            form: "list of sections",
            default: "empty",
            about: "The targets of the group. A group without targets answers nothing, with a warning at start.",
            example: "static_configs: [{targets: [\"prom-a:9090\", \"prom-b:9090\"]}]",
        },
        Key {
            name: "labels",
            form: "label names and values",
            default: "empty",
            about: "Added to every series of the group, over any label of the same name. A query that asks for another \
                    value of such a label never reaches the group. Give groups that hold different data different labels.",
            example: "labels: {region: eu-west}",
        },
        Key {
            name: "relabel_configs",
            form: "list of sections",
            default: "empty",
            about: "Rules over the labels of each target before it is asked: they choose targets, change how they are reached, and add labels to their series.",
            example: "relabel_configs: [{source_labels: [__address__], regex: '(.+)-.*', target_label: site}]",
        },
        Key {
            name: "metrics_relabel_configs",
            form: "list of sections",
            default: "empty",
            about: "Rules over the labels of every returned series, behind the added labels. Queries, label names, values and series are asked for the labels as they are after the rules. Series that become the same are merged as replicas are, also within one server: drop a replica label to join a pair.",
            example: "metrics_relabel_configs: [{action: labeldrop, source_label: replica}]",
        },
        Key {
            name: "inject_matchers",
            form: "list of matchers",
            default: "empty",
            about: "Added to every selector that is sent, without braces: the group shows only series that match, as they are stored. Metadata of metrics (type, help, unit) has no labels and is not restricted.",
            example: "inject_matchers: ['cluster=\"A\"']",
        },
        Key {
            name: "label_filter",
            form: "section",
            default: "none",
            about: "Do not ask the group for what it cannot have.",
            example: "label_filter: {dynamic_labels: [job], sync_interval: 5m}",
        },
        Key {
            name: "disjoint",
            form: "true or false",
            default: "false",
            about: "No other group holds any series of this one. Say so where groups cannot be told apart by `labels`: then aggregations can be evaluated by the servers. If it is not true, answers are wrong.",
            example: "disjoint: true",
        },
        Key {
            name: "scheme",
            form: "http or https",
            default: "http",
            about: "How the targets are spoken to.",
            example: "scheme: https",
        },
        Key {
            name: "path_prefix",
            form: "path",
            default: "empty",
            about: "Stands before `/api/v1/…` in every request, as Prometheus' own `--web.route-prefix`.",
            example: "path_prefix: /prometheus",
        },
        Key {
            name: "query_params",
            form: "names and secret texts",
            default: "empty",
            about: "Added to the query string of every request. Values are shown nowhere: tokens are often among them.",
            example: "query_params: {nocache: \"1\"}",
        },
        Key {
            name: "http_headers",
            form: "names and secret texts",
            default: "empty",
            about: "Set on every request. Values are shown nowhere. Headers of the connection and of the body, such as \
                    `Host` and `Content-Type`, cannot be set.",
            example: "http_headers: {X-Scope-OrgID: tenant-1}",
        },
        Key {
            name: "anti_affinity",
            form: "duration",
            default: "10s",
            about: "How long one replica must have had no sample before the sample of another fills in. Replicas scrape at \
                    different moments; without this both samples of one scrape would show up. Set it to about the \
                    scrape interval. Quiver counts milliseconds where promxy rounds down to whole seconds.",
            example: "anti_affinity: 15s",
        },
        Key {
            name: "anti_affinity_dynamic",
            form: "true or false",
            default: "false",
            about: "Find that length from the samples of each series instead. For groups in which scrape intervals differ.",
            example: "anti_affinity_dynamic: true",
        },
        Key {
            name: "prefer_max",
            form: "true or false",
            default: "false",
            about: "Of two replicas' samples that stand for one scrape, take the larger. Helps where a \
                    replica that restarted reports too small values; wrong where small values are the true ones.",
            example: "prefer_max: true",
        },
        Key {
            name: "mode",
            form: "exact, pushdown, trust or auto",
            default: "none, that of the whole program",
            about: "How the group takes part in a query: `exact` fetches raw samples, `pushdown` lets the servers evaluate where that is provably the same and compares replicas, `trust` leaves the comparison out, `auto` takes the cheaper of the first two. Without it, `--query.mode` holds.",
            example: "mode: exact",
        },
        Key {
            name: "remote_read",
            form: "true or false",
            default: "none, found out by asking",
            about: "Whether raw samples are fetched by remote read, which is exact: stale markers and native histograms come whole. \
                    Without this key each target is asked what it can do, and its log line says what was found; one without \
                    remote read, or whose `external_labels` cannot be told from stored labels, is asked over the query API. \
                    `external_labels` are learned from the target (`/api/v1/status/config`) and taken off; a change of them is \
                    noticed at once where a series shows it, and otherwise within two minutes. `true`: remote read also where \
                    they cannot be learned (they count as none) or told apart. `false`: never.",
            example: "remote_read: true",
        },
        Key {
            name: "remote_read_path",
            form: "path",
            default: "api/v1/read",
            about: "Where remote read is served, below `path_prefix`.",
            example: "remote_read_path: api/v1/read",
        },
        Key {
            name: "flight",
            form: "true, false, \":port\" or \"host:port\"",
            default: "none, found out by asking",
            about: "Whether targets that are Quivers are asked over Arrow Flight, which carries everything whole and is several times \
                    as fast as JSON. Without this key a target that says that it is a Quiver is asked at the port that it tells, on \
                    its own host. A target that cannot be reached so is asked over HTTP, and tried again within a minute. Where \
                    something stands between that changes ports, write \":port\", or for a group of one target \"host:port\"; `true` is \
                    the port of the HTTP API; `false` is never. Over https it is never asked.",
            example: "flight: \":8083\"",
        },
        Key {
            name: "native_histogram",
            form: "section",
            default: "none",
            about: "Read as in promxy, and not needed: remote read carries native histograms whole.",
            example: "native_histogram: {allow_lossy: true}",
        },
        Key {
            name: "relative_time_range",
            form: "section",
            default: "none",
            about: "For which part of time, seen from now, the group has samples.",
            example: "relative_time_range: {start: -2h}",
        },
        Key {
            name: "absolute_time_range",
            form: "section",
            default: "none",
            about: "For which part of time the group has samples.",
            example: "absolute_time_range: {start: 2026-01-31T12:00:00Z}",
        },
        Key {
            name: "align_query_range_with_step",
            form: "true or false",
            default: "false",
            about: "For servers that move the start of a range query to a multiple of its step, as Mimir can: they are asked for multiples, and selectors look ahead by the difference, so that the values are those of the steps that were asked for. promxy shows values of up to a step before.",
            example: "align_query_range_with_step: true",
        },
        Key {
            name: "timeout",
            form: "duration",
            default: "none",
            about: "Longest wait for the head of a target's response. `0s` is no limit of its own; the query's still holds.",
            example: "timeout: 30s",
        },
        Key {
            name: "max_idle_conns_per_host",
            form: "whole number",
            default: "1000",
            about: "Idle connections kept for each target. Each costs a file descriptor here and there.",
            example: "max_idle_conns_per_host: 100",
        },
        Key {
            name: "idle_conn_timeout",
            form: "duration",
            default: "5m",
            about: "How long an idle connection is kept. Below the target's own limit, so that it is never the target that \
                    closes a connection just as a request goes out.",
            example: "idle_conn_timeout: 1m",
        },
        Key {
            name: "ignore_error",
            form: "true or false",
            default: "false",
            about: "When the whole group fails, answer without it and say nothing. Answers are then short without a sign.",
            example: "ignore_error: true",
        },
        Key {
            name: "downgrade_error",
            form: "true or false",
            default: "false",
            about: "When the whole group fails, answer without it and add a warning. With `ignore_error`, that one wins.",
            example: "downgrade_error: true",
        },
        Key {
            name: "http_client",
            form: "section",
            default: "no credentials",
            about: "Connections, credentials, TLS.",
            example: "http_client: {dial_timeout: 1s}",
        },
    ],
    not_built: &[
        ("azure_sd_configs", USE_STATIC),
        ("consul_sd_configs", USE_STATIC),
        ("digitalocean_sd_configs", USE_STATIC),
        ("dns_sd_configs", USE_STATIC),
        ("docker_sd_configs", USE_STATIC),
        ("dockerswarm_sd_configs", USE_STATIC),
        ("ec2_sd_configs", USE_STATIC),
        ("eureka_sd_configs", USE_STATIC),
        ("file_sd_configs", USE_STATIC),
        ("gce_sd_configs", USE_STATIC),
        ("hetzner_sd_configs", USE_STATIC),
        ("http_sd_configs", USE_STATIC),
        ("ionos_sd_configs", USE_STATIC),
        ("kubernetes_sd_configs", USE_STATIC),
        ("kuma_sd_configs", USE_STATIC),
        ("lightsail_sd_configs", USE_STATIC),
        ("linode_sd_configs", USE_STATIC),
        ("marathon_sd_configs", USE_STATIC),
        ("nerve_sd_configs", USE_STATIC),
        ("nomad_sd_configs", USE_STATIC),
        ("openstack_sd_configs", USE_STATIC),
        ("ovhcloud_sd_configs", USE_STATIC),
        ("puppetdb_sd_configs", USE_STATIC),
        ("scaleway_sd_configs", USE_STATIC),
        ("serverset_sd_configs", USE_STATIC),
        ("stackit_sd_configs", USE_STATIC),
        ("triton_sd_configs", USE_STATIC),
        ("uyuni_sd_configs", USE_STATIC),
        ("vultr_sd_configs", USE_STATIC),
    ],
    inert: &[("max_idle_conns", "idle connections are limited for each target by max_idle_conns_per_host")],
};

const USE_STATIC: &str = "list the targets under static_configs";

/// The keys of an item of `static_configs`.
pub static STATIC_CONFIG_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[].static_configs[]",
    about: "Targets that are known by name.",
    keys: &[
        Key {
            name: "targets",
            form: "list of host:port",
            default: "empty",
            about: "Addresses without scheme and path. Without a port, that of the scheme is used.",
            example: "targets: [\"prom-a:9090\", \"[2001:db8::1]:9090\"]",
        },
        Key {
            name: "labels",
            form: "label names and values",
            default: "empty",
            about: "Added to the series of these targets only; the group's `labels` win over them. Replicas must have the \
                    same labels, or their series are not merged.",
            example: "labels: {rack: r1}",
        },
    ],
    not_built: &[],
    inert: &[],
};

/// The keys of `native_histogram`.
pub static NATIVE_HISTOGRAM_KEYS: KeyTable = KeyTable {
    title: "promxy.server_groups[].native_histogram",
    about: "promxy needs this to know which metrics are native histograms. Quiver reads them whole by remote read and says in \
            the answer where a server gives them only in part, so both keys do nothing.",
    keys: &[
        Key {
            name: "metadata_refresh",
            form: "duration",
            default: "0s",
            about: "How often promxy asks which metrics are histograms.",
            example: "metadata_refresh: 5m",
        },
        Key {
            name: "allow_lossy",
            form: "true or false",
            default: "false",
            about: "Whether promxy may read histograms over the query API.",
            example: "allow_lossy: true",
        },
    ],
    not_built: &[],
    inert: &[],
};
