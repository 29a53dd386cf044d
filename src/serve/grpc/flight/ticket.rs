//! Tickets: what a client asks of Flight, read from either spelling and checked.

use prost::Message;

use super::known_fields::unknown_field;
use super::ticket_json::read_json;
use crate::error::Error;
use crate::model::{DurationMs, MatchOp, Matcher, SelectForm, SelectRequest, StepGrid, TimestampMs};
use crate::serve::grpc::proto::{self, flight_ticket, leaf_select};
use crate::serve::grpc::request::step_grid;

/// A query has at most 64 KiB; the rest is for leaves with long lists of alternatives.
pub(in crate::serve::grpc) const TICKET_BYTES_MAX: usize = 1 << 20;

/// Each is a word a sample, and a dictionary a message.
pub(in crate::serve::grpc) const LABEL_COLUMNS_MAX: usize = 64;
/// The other columns of a table per sample.
pub(in crate::serve::grpc) const SAMPLE_COLUMNS: [&str; 4] = ["series", "timestamp", "value", "histogram"];

/// More steps than this no plan asks for: its subqueries have no more.
const LEAF_STEPS_MAX: u64 = 10_000_000;

/// A question and the tables in which its answer is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::serve::grpc) struct Ticket {
    pub(in crate::serve::grpc) question: Question,
    /// As in the other requests; they are checked where they become the engine's.
    pub(in crate::serve::grpc) options: Option<proto::QueryOptions>,
    pub(in crate::serve::grpc) form: TableForm,
    pub(in crate::serve::grpc) compression: Compression,
    /// Of a table per sample: labels with a column of their own.
    pub(in crate::serve::grpc) label_columns: Vec<String>,
    /// Of a table per sample: with a column of histograms.
    pub(in crate::serve::grpc) histograms: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::serve::grpc) enum Question {
    /// PromQL.
    Query { text: String, times: Times },
    /// One selector as it is stored, for a Quiver above.
    Leaf {
        select: SelectRequest,
        /// Of steps: whether the times of the samples go along.
        sample_times: bool,
    },
}

/// When a query is evaluated.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::serve::grpc) enum Times {
    /// When it is asked.
    Now,
    At(TimestampMs),
    /// A grid, and its end, which need not be a step.
    Range(StepGrid, TimestampMs),
}

/// What a row is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub(in crate::serve::grpc) enum TableForm {
    #[default]
    PerSeries,
    PerSample,
    Native,
}

/// How buffers are compressed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub(in crate::serve::grpc) enum Compression {
    #[default]
    None,
    Lz4Frame,
    Zstd,
}

/// `invalid ticket: form: …`
pub(super) fn in_field(field: &str) -> impl Fn(Error) -> Error + '_ {
    move |error| Error::bad_data(format!("invalid ticket: {field}: {}", error.message()))
}

fn refused(field: &str, why: impl Into<String>) -> Error {
    in_field(field)(Error::bad_data(why))
}

impl Ticket {
    /// A PromQL query with all else left out.
    pub(in crate::serve::grpc) fn of_query(text: impl Into<String>, times: Times) -> Self {
        Self {
            question: Question::Query { text: text.into(), times },
            options: None,
            form: TableForm::default(),
            compression: Compression::default(),
            label_columns: Vec::new(),
            histograms: false,
        }
    }

    /// Reads either spelling.
    ///
    /// # Errors
    /// `BadData` that names the field.
    pub(in crate::serve::grpc) fn read(bytes: &[u8]) -> Result<Self, Error> {
        match bytes {
            [] => Err(Error::bad_data(
                "invalid ticket: it is empty; a ticket is a quiver.v1.FlightTicket or JSON such as {\"query\": \"up\"}",
            )),
            _ if bytes.len() > TICKET_BYTES_MAX => Err(Error::bad_data(format!(
                "invalid ticket: it has {} bytes, at most {TICKET_BYTES_MAX} are read",
                bytes.len()
            ))),
            [b'{', ..] => read_json(bytes),
            _ => read_protobuf(bytes),
        }
    }

    /// The ticket as protobuf, with `now` in it where it says no time itself.
    pub(in crate::serve::grpc) fn to_proto(&self, now: Option<TimestampMs>) -> proto::FlightTicket {
        let (question, times) = match &self.question {
            Question::Query { text, times } => {
                let times = match times {
                    Times::Now => now.map(|now| flight_ticket::Times::TimeMs(now.0)),
                    Times::At(time) => Some(flight_ticket::Times::TimeMs(time.0)),
                    Times::Range(grid, end) => Some(flight_ticket::Times::Range(proto::TimeRange {
                        start_ms: grid.start().0,
                        end_ms: end.0,
                        step_ms: grid.step().0,
                    })),
                };
                (flight_ticket::Question::Query(text.clone()), times)
            }
            Question::Leaf { select, sample_times } => {
                (flight_ticket::Question::Leaf(leaf_to_proto(select, *sample_times)), None)
            }
        };
        let mut ticket = proto::FlightTicket {
            question: Some(question),
            times,
            options: self.options.clone(),
            label_columns: self.label_columns.clone(),
            histograms: self.histograms,
            ..proto::FlightTicket::default()
        };
        // The form of a leaf is not asked for.
        match (&self.question, self.form) {
            (Question::Leaf { .. }, _) | (_, TableForm::PerSeries) => {}
            (_, TableForm::PerSample) => ticket.set_form(proto::TableForm::PerSample),
            (_, TableForm::Native) => ticket.set_form(proto::TableForm::Native),
        }
        match self.compression {
            Compression::None => {}
            Compression::Lz4Frame => ticket.set_compression(proto::Compression::Lz4Frame),
            Compression::Zstd => ticket.set_compression(proto::Compression::Zstd),
        }
        ticket
    }
}

fn read_protobuf(bytes: &[u8]) -> Result<Ticket, Error> {
    let ticket = proto::FlightTicket::decode(bytes).map_err(|error| {
        Error::bad_data(format!(
            "invalid ticket: it is neither JSON, which begins with {{, nor a quiver.v1.FlightTicket: {error}"
        ))
    })?;
    if let Some(field) = unknown_field(".quiver.v1.FlightTicket", bytes) {
        return Err(refused(&field, "this version of Quiver has no such field in quiver.v1.FlightTicket"));
    }
    let form = match known("form", ticket.form, proto::TableForm::try_from)? {
        proto::TableForm::Unspecified | proto::TableForm::PerSeries => TableForm::PerSeries,
        proto::TableForm::PerSample => TableForm::PerSample,
        proto::TableForm::Native => TableForm::Native,
    };
    let compression = match known("compression", ticket.compression, proto::Compression::try_from)? {
        proto::Compression::Unspecified | proto::Compression::None => Compression::None,
        proto::Compression::Lz4Frame => Compression::Lz4Frame,
        proto::Compression::Zstd => Compression::Zstd,
    };
    if ticket.options.as_ref().is_some_and(|options| options.progress_interval_ms != 0) {
        return Err(refused(
            "options.progress_interval_ms",
            "only the calls of quiver.v1.QueryService tell of progress",
        ));
    }
    let (question, form) = match ticket.question {
        None => return Err(Error::bad_data("invalid ticket: it has neither query nor leaf")),
        Some(flight_ticket::Question::Query(text)) => (Question::Query { text, times: times(ticket.times)? }, form),
        Some(flight_ticket::Question::Leaf(leaf)) => {
            if ticket.times.is_some() {
                return Err(refused("times", "a leaf says itself when"));
            }
            if ticket.form != 0 && form != TableForm::Native {
                return Err(refused("form", "the tables of a leaf are always NATIVE"));
            }
            (read_leaf(leaf)?, TableForm::Native)
        }
    };
    let (label_columns, histograms) = (ticket.label_columns, ticket.histograms);
    check_sample_columns(form, &label_columns, histograms)?;
    Ok(Ticket { question, options: ticket.options, form, compression, label_columns, histograms })
}

/// Are the columns of a table per sample wanted of such a table, and is each there once?
pub(super) fn check_sample_columns(form: TableForm, label_columns: &[String], histograms: bool) -> Result<(), Error> {
    if form != TableForm::PerSample {
        let field = if histograms { "histograms" } else { "label_columns" };
        return match histograms || !label_columns.is_empty() {
            true => Err(refused(field, "only a table of one row a sample has it")),
            false => Ok(()),
        };
    }
    if label_columns.len() > LABEL_COLUMNS_MAX {
        return Err(refused("label_columns", format!("at most {LABEL_COLUMNS_MAX} are possible")));
    }
    for (index, name) in label_columns.iter().enumerate() {
        let is_taken = SAMPLE_COLUMNS.contains(&name.as_str()) || label_columns[..index].contains(name);
        if name.is_empty() || is_taken {
            let name: String = name.chars().take(40).collect();
            return Err(refused("label_columns", format!("{name:?} is empty or the name of another column")));
        }
    }
    Ok(())
}

fn known<T, E>(field: &str, code: i32, read: impl Fn(i32) -> Result<T, E>) -> Result<T, Error> {
    read(code).map_err(|_| refused(field, format!("{code} means nothing here")))
}

fn times(times: Option<flight_ticket::Times>) -> Result<Times, Error> {
    match times {
        None => Ok(Times::Now),
        Some(flight_ticket::Times::TimeMs(time_ms)) => Ok(Times::At(TimestampMs(time_ms))),
        Some(flight_ticket::Times::Range(range)) => {
            let (grid, end) = step_grid(Some(&range)).map_err(in_field("range"))?;
            Ok(Times::Range(grid, end))
        }
    }
}

fn read_leaf(leaf: proto::LeafSelect) -> Result<Question, Error> {
    let matchers = leaf.matchers.into_iter().enumerate().map(|(index, matcher)| {
        read_matcher(matcher).map_err(|error| in_field(&format!("leaf.matchers[{index}]"))(error))
    });
    let matchers = matchers.collect::<Result<Vec<_>, _>>()?;
    let selects = |matcher: &Matcher| matcher.compile().is_ok_and(|matcher| !matcher.matches(""));
    if !matchers.iter().any(selects) {
        return Err(refused("leaf.matchers", "at least one must not match the empty text"));
    }
    let (form, sample_times) = match leaf.form {
        None => return Err(refused("leaf", "it has neither raw nor steps")),
        Some(leaf_select::Form::Raw(proto::LeafSamples { after_ms, until_ms })) => {
            if until_ms < after_ms {
                return Err(refused("leaf.raw", "until_ms is before after_ms"));
            }
            (SelectForm::Samples { start: TimestampMs(after_ms), end: TimestampMs(until_ms) }, false)
        }
        Some(leaf_select::Form::Steps(steps)) => {
            let grid = read_grid(steps.grid).map_err(in_field("leaf.steps.grid"))?;
            if steps.lookback_ms <= 0 {
                return Err(refused("leaf.steps.lookback_ms", "it must be more than 0"));
            }
            (SelectForm::Steps { grid, lookback: DurationMs(steps.lookback_ms) }, steps.sample_times)
        }
    };
    Ok(Question::Leaf { select: SelectRequest { matchers, form }, sample_times })
}

fn read_matcher(matcher: proto::LeafMatcher) -> Result<Matcher, Error> {
    let op = match proto::MatchOperator::try_from(matcher.op) {
        Ok(proto::MatchOperator::Equal) => MatchOp::Equal,
        Ok(proto::MatchOperator::NotEqual) => MatchOp::NotEqual,
        Ok(proto::MatchOperator::Regex) => MatchOp::Regex,
        Ok(proto::MatchOperator::NotRegex) => MatchOp::NotRegex,
        Ok(proto::MatchOperator::Unspecified) => return Err(Error::bad_data("op is missing")),
        Err(_) => return Err(Error::bad_data(format!("op: {} means nothing here", matcher.op))),
    };
    if matcher.name.is_empty() {
        return Err(Error::bad_data("name is missing"));
    }
    let matcher = Matcher::new(matcher.name, op, matcher.value);
    matcher.compile().map_err(|error| Error::bad_data(format!("value: {error}")))?;
    Ok(matcher)
}

fn read_grid(grid: Option<proto::StepGrid>) -> Result<StepGrid, Error> {
    let grid = grid.ok_or_else(|| Error::bad_data("it is missing"))?;
    if grid.step_count == 0 || grid.step_count > LEAF_STEPS_MAX {
        return Err(Error::bad_data(format!("step_count is {}, it must be 1 to {LEAF_STEPS_MAX}", grid.step_count)));
    }
    if grid.step_ms <= 0 {
        return Err(Error::bad_data("step_ms must be more than 0"));
    }
    let last = i128::from(grid.start_ms) + i128::from(grid.step_ms) * i128::from(grid.step_count - 1);
    if i64::try_from(last).is_err() {
        return Err(Error::bad_data("its last step is later than any time"));
    }
    let step_count = usize::try_from(grid.step_count).map_err(|_| Error::bad_data("step_count is too large"))?;
    Ok(StepGrid::with_count(TimestampMs(grid.start_ms), DurationMs(grid.step_ms), step_count))
}

fn leaf_to_proto(select: &SelectRequest, sample_times: bool) -> proto::LeafSelect {
    let matchers = select.matchers.iter().map(|matcher| proto::LeafMatcher {
        name: matcher.name.clone(),
        op: match matcher.op {
            MatchOp::Equal => proto::MatchOperator::Equal,
            MatchOp::NotEqual => proto::MatchOperator::NotEqual,
            MatchOp::Regex => proto::MatchOperator::Regex,
            MatchOp::NotRegex => proto::MatchOperator::NotRegex,
        }
        .into(),
        value: matcher.value.clone(),
    });
    let form = match &select.form {
        SelectForm::Samples { start, end } => {
            leaf_select::Form::Raw(proto::LeafSamples { after_ms: start.0, until_ms: end.0 })
        }
        SelectForm::Steps { grid, lookback } => leaf_select::Form::Steps(proto::LeafSteps {
            grid: Some(proto::StepGrid {
                start_ms: grid.start().0,
                step_ms: grid.step().0,
                step_count: grid.step_count() as u64,
            }),
            lookback_ms: lookback.0,
            sample_times,
        }),
    };
    proto::LeafSelect { matchers: matchers.collect(), form: Some(form) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ticket: &proto::FlightTicket) -> String {
        Ticket::read(&ticket.encode_to_vec()).expect_err("refused").message().to_owned()
    }

    fn leaf(matchers: Vec<proto::LeafMatcher>, form: Option<leaf_select::Form>) -> proto::FlightTicket {
        let question = flight_ticket::Question::Leaf(proto::LeafSelect { matchers, form });
        proto::FlightTicket { question: Some(question), ..proto::FlightTicket::default() }
    }

    fn up() -> Vec<proto::LeafMatcher> {
        vec![proto::LeafMatcher { name: "__name__".into(), op: proto::MatchOperator::Equal.into(), value: "up".into() }]
    }

    fn steps(start_ms: i64, step_ms: i64, step_count: u64, lookback_ms: i64) -> proto::FlightTicket {
        let grid = Some(proto::StepGrid { start_ms, step_ms, step_count });
        leaf(up(), Some(leaf_select::Form::Steps(proto::LeafSteps { grid, lookback_ms, sample_times: true })))
    }

    #[test]
    fn what_is_read_can_be_written_again() {
        let now = Some(TimestampMs(7));
        let grid = StepGrid::with_count(TimestampMs(1_000), DurationMs(500), 3);
        let select = |form| SelectRequest {
            matchers: vec![Matcher::new("job", MatchOp::NotRegex, "a|b"), Matcher::equal("x", "y")],
            form,
        };
        let leaf = |form, sample_times| Ticket {
            question: Question::Leaf { select: select(form), sample_times },
            form: TableForm::Native,
            ..Ticket::of_query("", Times::Now)
        };
        for ticket in [
            Ticket::of_query("up", Times::At(TimestampMs(-5))),
            Ticket {
                form: TableForm::PerSample,
                compression: Compression::Zstd,
                ..Ticket::of_query("up", Times::At(TimestampMs(8)))
            },
            Ticket {
                form: TableForm::Native,
                compression: Compression::Lz4Frame,
                options: Some(proto::QueryOptions { timeout_ms: Some(5), ..Default::default() }),
                ..Ticket::of_query("rate(x[5m])", Times::Range(grid, TimestampMs(2_100)))
            },
            leaf(SelectForm::Samples { start: TimestampMs(1), end: TimestampMs(2) }, false),
            leaf(SelectForm::Steps { grid, lookback: DurationMs(300_000) }, true),
        ] {
            assert_eq!(Ticket::read(&ticket.to_proto(now).encode_to_vec()), Ok(ticket));
        }
        let asked_now = Ticket::of_query("up", Times::Now).to_proto(now);
        assert_eq!(asked_now.times, Some(flight_ticket::Times::TimeMs(7)));
    }

    #[test]
    fn no_protobuf_ticket_begins_like_json_or_like_flight_sql() {
        for ticket in
            [Ticket::of_query("up", Times::Now), Ticket::read(&steps(0, 1, 1, 1).encode_to_vec()).expect("a leaf")]
        {
            let bytes = ticket.to_proto(None).encode_to_vec();
            assert!(![b'{', 0x0a, 0x12].contains(&bytes[0]), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_field() {
        let query = || proto::FlightTicket {
            question: Some(flight_ticket::Question::Query("up".into())),
            ..proto::FlightTicket::default()
        };
        let range = |start_ms, end_ms, step_ms| {
            Some(flight_ticket::Times::Range(proto::TimeRange { start_ms, end_ms, step_ms }))
        };
        let raw = |after_ms, until_ms| Some(leaf_select::Form::Raw(proto::LeafSamples { after_ms, until_ms }));
        let matcher = |name: &str, op: i32, value: &str| {
            leaf(vec![proto::LeafMatcher { name: name.into(), op, value: value.into() }], raw(0, 1))
        };
        for (ticket, why) in [
            (proto::FlightTicket { form: 1, ..Default::default() }, "it has neither query nor leaf"),
            (proto::FlightTicket { form: 9, ..query() }, "form: 9 means nothing here"),
            (proto::FlightTicket { compression: -1, ..query() }, "compression: -1 means nothing here"),
            (
                proto::FlightTicket {
                    options: Some(proto::QueryOptions { progress_interval_ms: 500, ..Default::default() }),
                    ..query()
                },
                "options.progress_interval_ms: only the calls of quiver.v1.QueryService tell of progress",
            ),
            (
                proto::FlightTicket { times: range(1, 0, 1), ..query() },
                "range: end timestamp must not be before start time",
            ),
            (
                proto::FlightTicket { times: range(0, 1, 0), ..query() },
                "range: zero or negative query resolution step widths are not accepted. Try a positive integer",
            ),
            (leaf(up(), None), "leaf: it has neither raw nor steps"),
            (leaf(up(), raw(2, 1)), "leaf.raw: until_ms is before after_ms"),
            (leaf(vec![], raw(0, 1)), "leaf.matchers: at least one must not match the empty text"),
            (matcher("a", 3, ".*"), "leaf.matchers: at least one must not match the empty text"),
            (matcher("", 1, "b"), "leaf.matchers[0]: name is missing"),
            (matcher("a", 0, "b"), "leaf.matchers[0]: op is missing"),
            (matcher("a", 8, "b"), "leaf.matchers[0]: op: 8 means nothing here"),
            (proto::FlightTicket { form: 2, ..leaf(up(), raw(0, 1)) }, "form: the tables of a leaf are always NATIVE"),
            (proto::FlightTicket { times: range(0, 1, 1), ..leaf(up(), raw(0, 1)) }, "times: a leaf says itself when"),
            (steps(0, 1, 0, 1), "leaf.steps.grid: step_count is 0, it must be 1 to 10000000"),
            (steps(0, 1, u64::MAX, 1), "leaf.steps.grid: step_count is 18446744073709551615, it must be 1 to 10000000"),
            (steps(0, 0, 1, 1), "leaf.steps.grid: step_ms must be more than 0"),
            (steps(i64::MAX, 1, 2, 1), "leaf.steps.grid: its last step is later than any time"),
            (
                proto::FlightTicket { histograms: true, ..query() },
                "histograms: only a table of one row a sample has it",
            ),
            (
                proto::FlightTicket { form: 3, label_columns: vec!["job".into()], ..query() },
                "label_columns: only a table of one row a sample has it",
            ),
            (
                proto::FlightTicket { form: 2, label_columns: vec!["job".into(), "job".into()], ..query() },
                "label_columns: \"job\" is empty or the name of another column",
            ),
            (
                proto::FlightTicket { form: 2, label_columns: vec!["value".into()], ..query() },
                "label_columns: \"value\" is empty or the name of another column",
            ),
            (
                proto::FlightTicket { form: 2, label_columns: vec!["x".into(); 65], ..query() },
                "label_columns: at most 64 are possible",
            ),
            (steps(0, 1, 1, 0), "leaf.steps.lookback_ms: it must be more than 0"),
        ] {
            assert_eq!(message(&ticket), format!("invalid ticket: {why}"));
        }
        assert!(message(&matcher("a", 3, "(")).starts_with("invalid ticket: leaf.matchers[0]: value: "));
    }

    #[test]
    fn what_is_no_ticket_is_refused() {
        for (bytes, why) in [
            (&b""[..], "invalid ticket: it is empty"),
            (b"up", "invalid ticket: it is neither JSON, which begins with {, nor a quiver.v1.FlightTicket: "),
            (b" {\"query\": \"up\"}", "invalid ticket: it is neither JSON, which begins with {, nor"),
            (b"\x1a\x02up\xa0\x06\x01", "invalid ticket: 100: this version of Quiver has no such field in"),
            (b"\x1a\x02up\x3a\x03\xa0\x06\x01", "invalid ticket: options.100: this version of Quiver has no such"),
            (&vec![b'{'; TICKET_BYTES_MAX + 1], "invalid ticket: it has 1048577 bytes, at most 1048576 are read"),
        ] {
            let error = Ticket::read(bytes).expect_err(why);
            assert!(error.message().starts_with(why), "{error}");
        }
    }

    /// A ticket that is accepted is understood: written and read again it is the same.
    fn check_bytes(bytes: &[u8]) {
        if let Ok(ticket) = Ticket::read(bytes) {
            assert_eq!(Ticket::read(&ticket.to_proto(None).encode_to_vec()), Ok(ticket));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_ticket_or_an_error(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            check_bytes(&bytes);
        }

        #[test]
        fn tickets_with_bytes_that_fell_over_are_too(
            at in 0_usize..120, byte in proptest::prelude::any::<u8>(), which in 0_usize..3
        ) {
            let tickets = [
                steps(1_000, 500, 3, 300_000).encode_to_vec(),
                br#"{"query": "up", "start": 1, "end": 20, "step": "1s", "form": "samples", "label_columns": ["a"]}"#.to_vec(),
                proto::FlightTicket {
                    label_columns: vec!["a".into()],
                    form: 2,
                    options: Some(proto::QueryOptions { groups: vec!["eu".into()], mode: 2, ..Default::default() }),
                    ..Ticket::of_query("up", Times::At(TimestampMs(5))).to_proto(None)
                }
                .encode_to_vec(),
            ];
            let mut bytes = tickets[which].clone();
            let at = at % bytes.len();
            bytes[at] = byte;
            check_bytes(&bytes);
            check_bytes(&bytes[..at]);
        }
    }
}
