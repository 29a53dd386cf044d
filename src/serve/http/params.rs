//! What a client may say in a URL or a form, read as Prometheus reads it, with its error texts.
//!
//! | parameter | forms |
//! |---|---|
//! | time | `1435781430.781` (seconds), `2015-07-01T20:10:30.781Z` |
//! | duration | `15`, `0.5` (seconds), `5m`, `1h30m` |
//! | limit | a whole number; 0 or none is no limit |

use chrono::DateTime;

use crate::error::Error;
use crate::model::{DurationMs, Matcher, MetadataRequest, TimestampMs};

/// The largest body of a form. A query has at most 64 KiB; the rest is for long lists of `match[]`.
pub(super) const FORM_BYTES_MAX: usize = 2 * 1024 * 1024;

/// More points than this plus one in a series of a range query are refused.
pub(in crate::serve) const RANGE_INTERVALS_MAX: i128 = 11_000;

/// Texts by which Go clients say "from the beginning" and "to the end": their years have more than four digits.
const GO_MIN_TIME: &str = "-292273086-05-16T16:47:06Z";
const GO_MAX_TIME: &str = "+292277025-08-18T07:12:54.999999999Z";

/// Milliseconds of Go's two ends of time, as Prometheus' API defines them: i64 seconds, moved by the epoch of year 1.
const GO_MIN_TIME_MS: i64 = (i64::MIN / 1_000 + 62_135_596_801) * 1_000;
const GO_MAX_TIME_MS: i64 = (i64::MAX / 1_000 - 62_135_596_801) * 1_000 + 999;

/// Names and values in order: those of the body before those of the URL, as Go has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a form body and a URL query. Bad escapes are an error: what cannot be read must not silently be something else.
    pub(crate) fn parse(body: &str, url_query: &str) -> Result<Self, Error> {
        let mut pairs = Vec::new();
        for text in [body, url_query] {
            for pair in text.split('&').filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                pairs.push((decode_component(name)?, decode_component(value)?));
            }
        }
        Ok(Self(pairs))
    }

    /// The first value of a name; empty where there is none, as an empty parameter means the same.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.iter().find(|(own, _)| *own == name).map_or("", |(_, value)| value)
    }

    /// All values of a name.
    pub(crate) fn all<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(own, _)| *own == name).map(|(_, value)| value)
    }

    /// One more pair, behind the others.
    pub(crate) fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// All pairs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn decode_component(text: &str) -> Result<String, Error> {
    if text.contains(';') {
        return Err(Error::bad_data("error parsing form values: invalid semicolon separator in query"));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex_value(*high) << 4 | hex_value(*low));
                rest = tail;
            }
            (b'%', _) => {
                let escape = String::from_utf8_lossy(&tail[..tail.len().min(2)]).into_owned();
                return Err(Error::bad_data(format!(
                    "error parsing form values: invalid URL escape {:?}",
                    format!("%{escape}")
                )));
            }
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| Error::bad_data("error parsing form values: a parameter is not valid UTF-8"))
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// `invalid parameter "start": …`
pub(super) fn in_parameter(name: &str) -> impl Fn(Error) -> Error + '_ {
    move |error| error.in_context(format!("invalid parameter {name:?}"))
}

/// A required time. NaN, infinities and what does not fit into milliseconds are refused (Prometheus computes with garbage).
pub(in crate::serve) fn parse_time(text: &str) -> Result<TimestampMs, Error> {
    let refused = || Error::bad_data(format!("cannot parse {text:?} to a valid timestamp"));
    if let Ok(seconds) = text.parse::<f64>() {
        return TimestampMs::from_float_seconds(seconds).ok_or_else(refused);
    }
    match text {
        GO_MIN_TIME => Ok(TimestampMs(GO_MIN_TIME_MS)),
        GO_MAX_TIME => Ok(TimestampMs(GO_MAX_TIME_MS)),
        _ => parse_rfc3339(text).ok_or_else(refused),
    }
}

/// What Go's RFC 3339 layout reads: a capital `T` and `Z`, no leap second.
fn parse_rfc3339(text: &str) -> Option<TimestampMs> {
    let is_go_layout =
        text.is_ascii() && text.get(10..11) == Some("T") && text.get(17..19)? < "60" && !text.ends_with('z');
    let time = is_go_layout.then(|| DateTime::parse_from_rfc3339(text).ok())??;
    Some(TimestampMs(time.timestamp_millis()))
}

/// A time that may be left out.
pub(super) fn parse_optional_time(form: &Form, name: &str) -> Result<Option<TimestampMs>, Error> {
    match form.get(name) {
        "" => Ok(None),
        text => parse_time(text)
            .map(Some)
            .map_err(|error| in_parameter(name)(error.in_context(format!("invalid time value for '{name}'")))),
    }
}

/// A length of time in nanoseconds, Go's resolution: a step of half a millisecond must be told from none.
pub(in crate::serve) fn parse_duration_ns(text: &str) -> Result<i64, Error> {
    if let Ok(seconds) = text.parse::<f64>()
        && !seconds.is_nan()
    {
        let nanoseconds = seconds * 1e9;
        // 2^63 as a float is the first value that does not fit.
        if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&nanoseconds) {
            return Err(Error::bad_data(format!("cannot parse {text:?} to a valid duration. It overflows int64")));
        }
        return Ok(nanoseconds as i64);
    }
    DurationMs::parse(text)
        .ok()
        .and_then(|duration| duration.0.checked_mul(1_000_000))
        .ok_or_else(|| Error::bad_data(format!("cannot parse {text:?} to a valid duration")))
}

/// `limit`: `None` where everything is wanted.
pub(super) fn parse_limit(form: &Form) -> Result<Option<usize>, Error> {
    let text = form.get("limit");
    if text.is_empty() {
        return Ok(None);
    }
    let limit = parse_go_int(text).map_err(in_parameter("limit"))?;
    let limit =
        usize::try_from(limit).map_err(|_| in_parameter("limit")(Error::bad_data("limit must be non-negative")))?;
    Ok((limit > 0).then_some(limit))
}

/// A whole number, with the error texts of Go's `strconv.Atoi`.
pub(super) fn parse_go_int(text: &str) -> Result<i64, Error> {
    text.parse::<i64>().map_err(|error| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Error::bad_data(format!("strconv.Atoi: parsing {text:?}: {why}"))
    })
}

/// `start`, `end` and `step` of a range query, checked against each other; and the end, which need not lie on the grid.
pub(in crate::serve) fn parse_grid(form: &Form) -> Result<(crate::model::StepGrid, TimestampMs), Error> {
    let start = parse_time(form.get("start")).map_err(in_parameter("start"))?;
    let end = parse_time(form.get("end")).map_err(in_parameter("end"))?;
    if end < start {
        return Err(in_parameter("end")(Error::bad_data("end timestamp must not be before start time")));
    }
    let step_ns = parse_duration_ns(form.get("step")).map_err(in_parameter("step"))?;
    let refused = || {
        in_parameter("step")(Error::bad_data(
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ))
    };
    let step = DurationMs(step_ns / 1_000_000);
    // Steps of less than a millisecond would be zero for the engine.
    if step_ns <= 0 || step.0 == 0 {
        return Err(refused());
    }
    let range_ns = (i128::from(end.0) - i128::from(start.0)) * 1_000_000;
    if range_ns / i128::from(step_ns) > RANGE_INTERVALS_MAX {
        return Err(Error::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    crate::model::StepGrid::try_new(start, end, step).map(|grid| (grid, end)).ok_or_else(refused)
}

/// `start`, `end` and `limit` of the endpoints that ask about series; the selectors are still to be read.
///
/// `end` before `start` is no error here: Prometheus answers with nothing, which the source does by itself.
pub(super) fn parse_metadata_window(form: &Form) -> Result<MetadataRequest, Error> {
    let limit = parse_limit(form)?;
    let start = parse_optional_time(form, "start")?;
    let end = parse_optional_time(form, "end")?;
    Ok(MetadataRequest { selectors: Vec::new(), start, end, limit })
}

/// Every `match[]`, as `selector_of` reads one. All are read before any is weighed.
pub(super) fn parse_selectors(
    form: &Form,
    selector_of: impl Fn(&str) -> Result<Vec<Matcher>, Error>,
) -> Result<Vec<Vec<Matcher>>, Error> {
    let selectors = form.all("match[]").map(selector_of).collect::<Result<Vec<_>, _>>()?;
    for matchers in &selectors {
        if !has_non_empty_matcher(matchers)? {
            return Err(Error::bad_data("match[] must contain at least one non-empty matcher"));
        }
    }
    Ok(selectors)
}

/// Does any matcher refuse the empty string, so that the selector does not mean every series?
fn has_non_empty_matcher(matchers: &[Matcher]) -> Result<bool, Error> {
    for matcher in matchers {
        let compiled = matcher.compile().map_err(|error| Error::bad_data(error.to_string()))?;
        if !compiled.matches("") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A label name in a path, which may be escaped as Prometheus escapes UTF-8 names: `U__http_2e_status` is `http.status`.
///
/// A doubled underscore is one underscore, `_HEX_` a code point. What begins with `U__` but is not well escaped stands for
/// itself.
pub(super) fn unescape_label_name(name: &str) -> String {
    name.strip_prefix("U__").and_then(unescape).unwrap_or_else(|| name.to_owned())
}

fn unescape(escaped: &str) -> Option<String> {
    let mut text = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            text.push('_');
            rest = after;
            continue;
        }
        let (code, after) = rest.split_once('_')?;
        // Prometheus writes at most six hexadecimal digits, without a sign.
        if code.is_empty() || code.len() > 6 || !code.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        text.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MatchOp;

    fn form(text: &str) -> Form {
        Form::parse("", text).expect("a form")
    }

    #[test]
    fn the_body_comes_before_the_url() {
        let both = Form::parse("query=a%2Bb+c&x", "query=d&&match[]=1&match%5B%5D=2").expect("a form");
        assert_eq!(both.get("query"), "a+b c");
        assert_eq!(both.get("x"), "");
        assert_eq!(both.all("match[]").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(both.get("nosuch"), "");
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for (text, why) in [
            ("query=%zz", "invalid URL escape \"%zz\""),
            ("query=%", "invalid URL escape \"%\""),
            ("query=%é", "invalid URL escape \"%é\""),
            ("query=%ff", "a parameter is not valid UTF-8"),
            ("query=a;b", "invalid semicolon separator in query"),
        ] {
            let error = Form::parse("", text).expect_err(text);
            assert_eq!(error.message(), format!("error parsing form values: {why}"), "{text}");
        }
    }

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        for (text, ms) in [
            ("1435781430.781", Some(1_435_781_430_781)),
            ("1e3", Some(1_000_000)),
            ("-1.5", Some(-1_500)),
            ("0.0005", Some(1)),
            ("2015-07-01T20:10:30.781Z", Some(1_435_781_430_781)),
            ("2015-07-01T20:10:30.781999999Z", Some(1_435_781_430_781)),
            ("2015-07-01T22:10:30+02:00", Some(1_435_781_430_000)),
            ("1969-12-31T23:59:59.9999Z", Some(-1)),
            (GO_MIN_TIME, Some(-9_223_309_901_257_974_000)),
            (GO_MAX_TIME, Some(9_223_309_901_257_974_999)),
            ("", None),
            ("abc", None),
            ("NaN", None),
            ("+Inf", None),
            ("1e30", None),
            ("2015-07-01t20:10:30Z", None),
            ("2015-07-01T20:10:30z", None),
            ("2015-07-01 20:10:30Z", None),
            ("2015-07-01T20:10:60Z", None),
            ("2015-07-01T20:10:30", None),
            ("2015-07-0é20:10:30Z", None),
        ] {
            let read = parse_time(text);
            match ms {
                Some(ms) => assert_eq!(read, Ok(TimestampMs(ms)), "{text}"),
                None => {
                    assert_eq!(read.expect_err(text).message(), format!("cannot parse {text:?} to a valid timestamp"))
                }
            }
        }
    }

    #[test]
    fn durations_are_seconds_or_prometheus_durations() {
        for (text, ns) in
            [("15", 15_000_000_000), ("0.5", 500_000_000), ("5m", 300_000_000_000), ("-1", -1_000_000_000)]
        {
            assert_eq!(parse_duration_ns(text), Ok(ns), "{text}");
        }
        for (text, why) in [
            ("1e30", "cannot parse \"1e30\" to a valid duration. It overflows int64"),
            ("-inf", "cannot parse \"-inf\" to a valid duration. It overflows int64"),
            ("NaN", "cannot parse \"NaN\" to a valid duration"),
            ("often", "cannot parse \"often\" to a valid duration"),
            ("", "cannot parse \"\" to a valid duration"),
        ] {
            assert_eq!(parse_duration_ns(text).expect_err(text).message(), why);
        }
    }

    #[test]
    fn grids_are_checked_in_prometheus_order() {
        let too_many = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)";
        let zero = "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer";
        for (text, why) in [
            ("end=later&step=0", "invalid parameter \"start\": cannot parse \"\" to a valid timestamp"),
            ("start=0&end=later&step=0", "invalid parameter \"end\": cannot parse \"later\" to a valid timestamp"),
            ("start=2&end=1&step=often", "invalid parameter \"end\": end timestamp must not be before start time"),
            ("start=0&end=1&step=often", "invalid parameter \"step\": cannot parse \"often\" to a valid duration"),
            ("start=0&end=1&step=0s", zero),
            ("start=0&end=1&step=-5", zero),
            ("start=0&end=1&step=0.0005", zero),
            ("start=0&end=11001&step=1", too_many),
            (&format!("start={GO_MIN_TIME}&end=9e15&step=1"), too_many),
        ] {
            assert_eq!(parse_grid(&form(text)).expect_err(text).message(), why, "{text}");
        }
        assert_eq!(parse_grid(&form("start=0&end=11000&step=1")).expect("fits").0.step_count(), 11_001);
        assert_eq!(parse_grid(&form("start=0&end=11000.999&step=1")).expect("fits").0.step_count(), 11_001);
        assert_eq!(parse_grid(&form("start=5&end=5&step=1m")).expect("one point").0.step_count(), 1);
    }

    #[test]
    fn limits_are_whole_numbers() {
        assert_eq!(parse_limit(&form("")), Ok(None));
        assert_eq!(parse_limit(&form("limit=0")), Ok(None));
        assert_eq!(parse_limit(&form("limit=7")), Ok(Some(7)));
        for (text, why) in [
            ("abc", "strconv.Atoi: parsing \"abc\": invalid syntax"),
            ("1.5", "strconv.Atoi: parsing \"1.5\": invalid syntax"),
            ("99999999999999999999", "strconv.Atoi: parsing \"99999999999999999999\": value out of range"),
            ("-1", "limit must be non-negative"),
        ] {
            let error = parse_limit(&form(&format!("limit={text}"))).expect_err(text);
            assert_eq!(error.message(), format!("invalid parameter \"limit\": {why}"));
        }
    }

    #[test]
    fn a_selector_of_everything_is_refused() {
        let read = |matchers: Vec<Matcher>| {
            parse_selectors(&form("match[]=x"), move |_| Ok(matchers.clone())).map_err(|error| error.to_string())
        };
        let everything = Err("match[] must contain at least one non-empty matcher".to_owned());
        assert_eq!(read(vec![]), everything);
        assert_eq!(read(vec![Matcher::new("a", MatchOp::Regex, ".*"), Matcher::equal("b", "")]), everything);
        assert!(read(vec![Matcher::new("a", MatchOp::NotEqual, "")]).is_ok());
        assert!(read(vec![Matcher::equal("a", "x"), Matcher::equal("b", "")]).is_ok());
    }

    #[test]
    fn escaped_label_names_are_unescaped() {
        for (escaped, name) in [
            ("job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U___1F600_", "\u{1F600}"),
            ("U__", ""),
            ("U__a_b", "U__a_b"),
            ("U__a_+2e_", "U__a_+2e_"),
            ("U__a_d800_", "U__a_d800_"),
            ("U__a_1234567_", "U__a_1234567_"),
        ] {
            assert_eq!(unescape_label_name(escaped), name, "{escaped}");
        }
    }
}
