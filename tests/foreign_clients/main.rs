//! Clients that others have written, each a process of its own, get the numbers that the HTTP API gives, bit by bit.
//!
//! The gateway is our own binary in front of two groups of two servers; what is asked stands in `questions.txt`. The test asks over
//! HTTP itself, and then has each client ask for the same: Python clients from PyPI (see `support/python.rs`), Prometheus' `promtool`
//! and `curl`. A client that is not there is named and left out, unless `QUIVER_TEST_REQUIRE_CLIENTS=1`.

#[path = "../support/python.rs"]
mod python;

mod answer;
mod command_line;
mod question;
mod scripts;
mod stage;

use std::fmt::Write as _;
use std::io::Write as _;

use answer::{Answer, difference};
use python::clients_python;
use question::{Question, questions};
use scripts::Script;
use stage::Stage;

/// Past the test's capture: which clients were asked is to be seen of a passing test, too.
macro_rules! say {
    ($($words:tt)*) => { writeln!(std::io::stderr(), $($words)*).expect("an error stream") };
}

#[test]
fn every_client_gets_the_numbers_of_the_http_api() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let stage = runtime.block_on(Stage::set());
    let python = clients_python();
    let questions = questions();
    let expected: Vec<Answer> = questions.iter().map(|question| runtime.block_on(stage.ask(question))).collect();
    show_what_is_asked(&questions, &expected);

    let mut report = String::new();
    let mut compare = |client: &str, got: Option<Vec<Answer>>| match got {
        Some(got) => report += &told_differences(client, &questions, &expected, &got),
        None => say!("{client}: not here, not asked"),
    };
    for (ports, gateway) in [("", &stage.separate), (", on one port", &stage.shared)] {
        for (client, way) in command_line::CURL_WAYS {
            compare(&format!("{client}{ports}"), command_line::ask_curl(gateway, way, &questions));
        }
        if let Some(python) = &python {
            for script in Script::ALL {
                compare(&format!("{}{ports}", script.client), Some(script.ask(python, gateway, &questions)));
            }
        }
    }
    compare("promtool", command_line::ask_promtool(&stage.separate, &questions));
    report += &command_line::differences_of_lists(&stage.separate);
    if let Some(python) = &python {
        report += &scripts::differences_of_lists(python, &stage.separate);
    }
    assert!(report.is_empty(), "\n{report}");
}

/// A test of empty answers would show nothing.
fn show_what_is_asked(questions: &[Question], expected: &[Answer]) {
    assert_eq!((questions.len(), expected.len()), (30, 30));
    let samples: usize = expected.iter().map(Answer::sample_count).sum();
    let empty = questions.iter().zip(expected).filter(|(_, answer)| answer.sample_count() == 0);
    let empty: Vec<String> = empty.map(|(question, answer)| format!("{question}: {answer:?}")).collect();
    say!("{} questions, {samples} samples", questions.len());
    assert!(samples > 5_000 && empty.len() == 2, "{samples} samples, without any {empty:#?}");
}

fn told_differences(client: &str, questions: &[Question], expected: &[Answer], got: &[Answer]) -> String {
    let mut told = String::new();
    let mut equal = 0;
    for (at, (question, expected)) in questions.iter().zip(expected).enumerate() {
        match difference(expected, got.get(at)) {
            None => equal += 1,
            Some(difference) => {
                writeln!(told, "{client}: {question}: {difference}").expect("a String takes everything");
            }
        }
    }
    say!("{client}: {equal}/{} answers are equal", questions.len());
    told
}
