use proptest::prelude::*;

use super::*;

/// Checks what a pattern matches and what it does not.
fn check(pattern: &str, matching: &[&str], other: &[&str]) {
    for regex in [GoRegex::anchored(pattern), GoRegex::anchored_without_groups(pattern)] {
        let regex = regex.unwrap_or_else(|error| panic!("{pattern:?} is valid: {error}"));
        for text in matching {
            assert!(regex.is_match(text), "{pattern:?} matches {text:?}");
        }
        for text in other {
            assert!(!regex.is_match(text), "{pattern:?} does not match {text:?}");
        }
    }
}

fn error_of(pattern: &str) -> String {
    GoRegex::anchored(pattern).expect_err(pattern).to_string()
}

#[test]
fn the_whole_text_must_match_and_dot_matches_newline() {
    check("", &[""], &["a", "\n"]);
    check("api", &["api"], &["xapi", "apis", "API", "", "api\n"]);
    check("a|bc", &["a", "bc"], &["abc", "ac", "b", ""]);
    check("a|", &["a", ""], &["b"]);
    check("a.c", &["abc", "a\nc", "aéc"], &["ac", "abbc"]);
    check("(?-s)a.c", &["abc"], &["a\nc"]);
    check("(?-s:.*)", &["", "abc"], &["a\nb"]);
    check("^a$", &["a"], &["ab", "^a$"]);
    check("^(a|b)$", &["a", "b"], &["ab", ""]);
    check("(^a|b$)", &["a", "b"], &["ab"]);
    check("a^b", &[], &["ab", "a^b"]);
    check("a$|b", &["a", "b"], &["a\n"]);
    check("(?m)a$\n^b", &["a\nb"], &["ab"]);
    check("(?m)^$", &[""], &["\n"]);
    check("\\Aa\\z", &["a"], &["a\n"]);
}

#[test]
fn perl_classes_are_ascii() {
    check("\\d", &["0", "9"], &["٣", "a"]);
    check("\\D", &["٣", "a", "\n"], &["0"]);
    check("\\w+", &["aZ_9"], &["é", "\u{212a}", "-"]);
    check("\\W", &["é", "\u{212a}"], &["k", "_"]);
    check("\\s", &[" ", "\t", "\n", "\u{c}", "\r"], &["\u{b}", "\u{a0}", "\u{2028}"]);
    check("[[:space:]]", &["\u{b}", " "], &["\u{a0}"]);
    check("[[:word:]]+", &["a_1"], &["é"]);
    check("[[:^word:]]", &["é"], &["a"]);
    check("[[:alpha:][:digit:]-]+", &["a-1"], &["a_1"]);
    check("[:word:]", &["w", ":"], &["a", "[:word:]"]);
    check("a\\b.b", &["a-b", "aéb"], &["axb"]);
    check("é\\ba", &["éa"], &[]);
    check("é\\B-", &["é-"], &[]);
    check("[\\d\\s]+", &["1 2"], &["a"]);
    check("[^\\d]", &["a", "\n"], &["1"]);
}

#[test]
fn class_members_stand_for_themselves() {
    check("[a&&b]", &["a", "&", "b"], &["a&&b", ""]);
    check("[a~~b]", &["a", "~", "b"], &[]);
    check("[[a]", &["[", "a"], &["]"]);
    check("[]a]", &["]", "a"], &["[]a]"]);
    check("[^]a]", &["b", "\n"], &["]", "a"]);
    check("[a-]", &["a", "-"], &["b"]);
    check("[-a]", &["a", "-"], &["b"]);
    check("[\\d-z]", &["1", "-", "z"], &["y"]);
    check("[a-c-e]", &["b", "-", "e"], &["d"]);
    check("[+--]", &["+", ",", "-"], &["."]);
    check("[a^]", &["a", "^"], &["b"]);
    check("[^\\x00-\\x{10FFFF}]", &[], &["", "a"]);
    check("[\\x{D7FF}-\\x{E000}]", &["\u{d7ff}", "\u{e000}"], &["a"]);
    check("\\x{D800}", &[], &["", "a"]);
}

#[test]
fn escapes_and_braces_that_rust_refuses() {
    check("\\Qa.b\\E", &["a.b"], &["axb"]);
    check("\\Qa.b", &["a.b"], &["axb"]);
    check("\\Qab\\E+", &["ab", "abb"], &["abab"]);
    check("\\123\\060", &["S0"], &["123"]);
    check("\\0", &["\0"], &["0"]);
    check("\\x41\\x{1F600}", &["A😀"], &["x41"]);
    check("\\a\\f\\t\\n\\r\\v", &["\x07\x0c\t\n\r\x0b"], &[]);
    check("\\.\\-\\_\\]", &[".-_]"], &["a-_]"]);
    check("x{,2}", &["x{,2}"], &["x", "xx"]);
    check("a{2", &["a{2"], &["aa"]);
    check("{", &["{"], &[]);
    check("a{01}", &["a{01}"], &["a"]);
    check("a{2}", &["aa"], &["a", "aaa"]);
    check("(?:ab){1,2}", &["ab", "abab"], &["", "ababab"]);
    check("a{0}", &[""], &["a"]);
    check("a{2,}", &["aa", "aaa"], &["a"]);
    check("]", &["]"], &[]);
    check("}", &["}"], &[]);
}

#[test]
fn case_folding_knows_the_characters_outside_of_ascii() {
    check("(?i)api", &["api", "API", "aPi"], &["apis"]);
    check("(?i)k", &["k", "K", "\u{212a}"], &["c"]);
    check("(?i)[k-l]", &["K", "\u{212a}"], &["j"]);
    check("(?i)s", &["s", "S", "ſ"], &["z"]);
    check("(?i)\\w", &["k", "\u{212a}", "ſ"], &["é"]);
    check("(?i)\\W", &["é"], &["\u{212a}", "ſ", "k"]);
    check("(?i)[^k]", &["j"], &["k", "K", "\u{212a}"]);
    check("(?i)É", &["é", "É"], &["e"]);
    check("(?i)σ", &["Σ", "ς", "σ"], &["s"]);
    check("(?i)ß", &["ß", "ẞ"], &["ss"]);
    check("(?i)a(?-i)b", &["ab", "Ab"], &["AB"]);
    check("(?i:a)b", &["Ab"], &["AB"]);
    check("a(?i)b|c", &["aB", "C"], &["AB"]);
    check("(a(?i)b)c", &["aBc"], &["aBC"]);
    check("(?i)\\Qa.\\E", &["A."], &["Ab"]);
    check("(?i)\\p{Lu}", &["a", "A"], &["1"]);
}

#[test]
fn unicode_groups_go_by_category_and_script() {
    check("\\pN+", &["1٣Ⅷ"], &["a"]);
    check("\\PN", &["a"], &["1"]);
    check("\\p{Greek}", &["λ"], &["l"]);
    check("\\p{^Greek}", &["l"], &["λ"]);
    check("\\P{^Greek}", &["λ"], &["l"]);
    check("[\\p{Lu}\\d]+", &["A1"], &["a"]);
    check("\\p{letter}", &["a"], &["1"]);
    check("\\p{lu}", &["A"], &["a"]);
    check("\\p{Any}", &["a", "\n"], &[""]);
    check("\\p{ASCII}", &["a"], &["é"]);
    check("\\p{Zl}", &["\u{2028}"], &["\n"]);
    check("\\p{Cs}", &[], &["a"]);
    check("\\p{Thai}", &["ก"], &["a"]);
}

#[test]
fn groups_and_flags_are_read_as_go_reads_them() {
    check("(?P<n>a)(?<m>b)", &["ab"], &["a"]);
    check("(?P<n>a)(?P<n>b)", &["ab"], &[]);
    check("(?U)a+b", &["aab"], &["b"]);
    check("(?)a", &["a"], &["?a"]);
    check("()", &[""], &["a"]);
    check("a(?i)*", &["", "aa"], &["A"]);
    check("a||b", &["", "a", "b"], &["ab"]);
    check("(|a)*", &["", "aaa"], &["b"]);
    check("^*a", &["a"], &["^a"]);
    check("(?:a*)*", &["", "aa"], &["b"]);
    check("(?:x{0,10}){0,100}", &["", "xxx"], &["y"]);
}

/// The texts were compared with those of Go 1.26.
#[test]
fn mistakes_are_told_in_the_words_of_go() {
    for (pattern, message) in [
        ("[a", "missing closing ]: `[a`"),
        ("x[a-", "missing closing ]: `[a-`"),
        ("[]", "missing closing ]: `[]`"),
        ("(a", "missing closing ): `(a`"),
        ("(?:a", "missing closing ): `(?:a`"),
        ("a)", "unexpected ): `a)`"),
        ("a)|(b", "unexpected ): `a)|(b`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("a|+?", "missing argument to repetition operator: `+?`"),
        ("(*)", "missing argument to repetition operator: `*`"),
        ("{2}", "missing argument to repetition operator: `{2}`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a*+", "invalid nested repetition operator: `*+`"),
        ("xa{2}{3}?b", "invalid nested repetition operator: `{2}{3}?`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
        ("(a{1000}){1000}", "invalid repeat count: `{1000}`"),
        ("(a{40}){26}", "invalid repeat count: `{26}`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("[a--b]", "invalid character class range: `a--`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        ("\\pX", "invalid character class range: `\\pX`"),
        ("\\p{Grek}", "invalid character class range: `\\p{Grek}`"),
        ("\\p{Alphabetic}", "invalid character class range: `\\p{Alphabetic}`"),
        ("\\p{Script=Greek}", "invalid character class range: `\\p{Script=Greek}`"),
        ("\\p{isGreek}", "invalid character class range: `\\p{isGreek}`"),
        ("\\p{Greek", "invalid character class range: `\\p{Greek`"),
        ("\\p{}", "invalid character class range: `\\p{}`"),
        ("a\\p", "invalid character class range: `\\p`"),
        ("[a-\\d]", "invalid escape sequence: `\\d`"),
        ("\\C", "invalid escape sequence: `\\C`"),
        ("\\Z", "invalid escape sequence: `\\Z`"),
        ("\\E", "invalid escape sequence: `\\E`"),
        ("\\8", "invalid escape sequence: `\\8`"),
        ("\\1", "invalid escape sequence: `\\1`"),
        ("\\u00e9", "invalid escape sequence: `\\u`"),
        ("\\x4", "invalid escape sequence: `\\x4`"),
        ("\\x{110000}", "invalid escape sequence: `\\x{110000`"),
        ("\\x{}", "invalid escape sequence: `\\x{}`"),
        ("\\é", "invalid escape sequence: `\\é`"),
        ("[\\Qa]", "invalid escape sequence: `\\Q`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?i-)", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        ("(?P<n", "invalid named capture: `(?P<n`"),
        ("(?P<a-b>c)", "invalid named capture: `(?P<a-b>`"),
        ("(?<>a)", "invalid named capture: `(?<>`"),
    ] {
        assert_eq!(error_of(pattern), format!("error parsing regexp: {message}"), "{pattern}");
    }
}

#[test]
fn templates_expand_as_gos_do() {
    for (pattern, text, template, expanded) in [
        ("(.*)-(.*)", "a-b", "$2/$1", Some("b/a")),
        ("(.*)", "a", "$1x", Some("")),
        ("(.*)", "a", "${1}x", Some("ax")),
        ("(.*)", "a", "$1-x", Some("a-x")),
        ("(.*)", "a", "$0$0", Some("aa")),
        ("(.*)", "a", "$$1", Some("$1")),
        ("(.*)", "a", "$", Some("$")),
        ("(.*)", "a", "${", Some("${")),
        ("(.*)", "a", "${1", Some("${1")),
        ("(.*)", "a", "${1-}", Some("${1-}")),
        ("(.*)", "a", "$-$.", Some("$-$.")),
        ("(.*)", "a", "[$2$n$99999999999999999999]", Some("[]")),
        ("(.*)", "a", "$01", Some("")),
        ("(.*)", "a", "$1é", Some("")),
        ("(.*)", "a", "$1²", Some("a²")),
        ("(?P<n>.*)", "a", "${n}b", Some("ab")),
        ("(?P<n>a)|(?P<n>b)", "b", "<$n>", Some("<b>")),
        ("(?P<1x>a).*", "ab", "$1x", Some("a")),
        ("(a)|(b)", "b", "[$1$2]", Some("[b]")),
        ("(a+)(a*)", "aaa", "$1,$2", Some("aaa,")),
        ("(a+?)(a*)", "aaa", "$1,$2", Some("a,aa")),
        ("(?U)(a+)(a*)", "aaa", "$1,$2", Some("a,aa")),
        ("(a|ab)(c|bcd)(d*)", "abcd", "$1,$2,$3", Some("a,bcd,")),
        ("((a)|b)*", "ab", "$1$2", Some("ba")),
        ("x", "x", "y$0", Some("yx")),
        ("x|y", "z", "y", None),
        ("a(b)?", "a", "[$1]", Some("[]")),
        (".*", "a", "", Some("")),
        ("(?:a)(b)", "ab", "$1", Some("b")),
    ] {
        let regex = GoRegex::anchored(pattern).expect(pattern);
        assert_eq!(regex.expand(text, template).as_deref(), expanded, "{pattern} on {text} by {template}");
    }
}

#[test]
fn what_people_write_needs_no_automaton() {
    let is_plain = |pattern| GoRegex::anchored_without_groups(pattern).expect(pattern).0.automaton.is_none();
    for pattern in [
        "",
        "api",
        "^api$",
        "(api)",
        "a|b|c",
        "(a|b)-[12]",
        "https?",
        ".*",
        ".+",
        "(.*)",
        "api-.*",
        ".+-api",
        ".*api.*",
        "a.*b.+c",
        "(GET|POST)",
        "api-.*|.*-web|x",
        "a.*.*b",
        "(?i)ab",
    ] {
        assert!(is_plain(pattern), "{pattern}");
    }
    for pattern in ["a.b", "[45]..", "a+", "\\d+", "(?-s).*", ".+.+", "a{2}", "[^a]", "\\ba"] {
        assert!(!is_plain(pattern), "{pattern}");
    }
}

#[test]
fn a_list_of_a_hundred_thousand_texts_is_looked_up() {
    let texts: Vec<String> = (0..100_000).map(|index| format!("item{index:06}")).collect();
    let regex = GoRegex::anchored(&format!("({})", texts.join("|"))).expect("a list");
    assert!(regex.0.automaton.is_none());
    assert!(regex.is_match("item099999") && !regex.is_match("item100000"));
    assert_eq!(regex.expand("item000007", "$1!").as_deref(), Some("item000007!"));
}

#[test]
fn hostile_patterns_are_refused_or_done_in_bounded_space() {
    let nested = |levels: usize| format!("{}a{}", "(".repeat(levels), ")".repeat(levels));
    assert!(GoRegex::anchored(&nested(998)).expect("as deep as Go allows").is_match("a"));
    check(&format!("{}a{}", "(".repeat(499), ")*".repeat(499)), &["", "aaa"], &["b"]);
    for (pattern, message) in [
        (nested(100_000), "expression nests too deeply"),
        ("(".repeat(1_000_000), "missing closing )"),
        ("a{1000}".repeat(4_000), "expression too large"),
        ("\\pL{1000}".repeat(2), "expression too large"),
        ("\\pL".repeat(20_000), "expression too large"),
    ] {
        assert!(error_of(&pattern).starts_with(&format!("error parsing regexp: {message}: `")), "{message}");
    }
    check("\\pL{200}", &[], &["é"]);
    // A list times a long text would be half a gigabyte.
    check(&format!("({}){}", "a|b|c|d|".repeat(4_000), "e".repeat(30_000)), &[], &["a"]);
    check(&format!("[{}]", "\\pL".repeat(400)), &["é"], &["1"]);
}

#[test]
fn every_character_with_case_variants_is_foldable() {
    let mut rest = class::FOLDABLE.clone();
    rest.negate();
    let mut folded = rest.clone();
    folded.case_fold_simple();
    assert_eq!(folded, rest);
}

/// Patterns from the pieces that the text matcher knows, and a few that it does not.
fn pattern() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => "[ab]{1,2}",
        3 => Just(".*".to_owned()),
        3 => Just(".+".to_owned()),
        1 => Just("[ab]".to_owned()),
        1 => Just("é".to_owned()),
        1 => Just("^".to_owned()),
        1 => Just("$".to_owned()),
        1 => Just("(?:ab)?".to_owned()),
        1 => Just(".".to_owned()),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.join("|")),
            1 => inner.prop_map(|part| format!("({part})")),
        ]
    })
}

proptest! {
    #[test]
    fn the_text_matcher_decides_as_the_automaton_does(pattern in pattern(), texts in prop::collection::vec("[abé\n]{0,6}", 1..20)) {
        let parsed = parser::parse(&pattern, true).expect("built to be valid");
        if let Some(matcher) = TextMatcher::try_new(&parsed.node, pattern.len()) {
            let automaton = Automaton::try_new(&translate::anchored(parsed.node), true, &pattern).expect("small");
            for text in texts {
                prop_assert_eq!(matcher.is_match(&text), automaton.regex.is_match(text.as_str()), "{} on {:?}", pattern, text);
            }
        }
    }

    #[test]
    fn no_pattern_panics(pattern in "[a-c\\[\\]\\\\(){}|*+?^$.,:<>P!i0-3é-]{0,24}", text in "[abcé]{0,5}") {
        if let Ok(regex) = GoRegex::anchored(&pattern) {
            prop_assert_eq!(regex.expand(&text, "").is_some(), regex.is_match(&text));
        }
    }
}

#[test]
fn automata_that_live_at_once_share_one_bound() {
    static ROOM: automaton::Room = automaton::Room::new(10);
    let first = ROOM.take(6).expect("there is room");
    assert!(ROOM.take(5).is_none());
    drop(first);
    assert!(ROOM.take(10).is_some());
}
