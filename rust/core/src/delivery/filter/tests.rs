//! Filters against plain JSON trees, and against bytes that are none. Over 500 lines because the reference that they are
//! held against, and what makes them up at random, serve all tests.

use std::cmp::Ordering;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{Filter, Matcher, Slot};
use crate::delivery::{Heard, Projections, Slots, Subscriptions};
use crate::protocol::event::{EventSet, EventType};

fn filter(description: &Json) -> Filter {
    Filter::parse(&description.to_string()).unwrap()
}

fn matches(description: &Json, data: &str) -> bool {
    filter(description).matches(data.as_bytes())
}

#[test]
fn the_truth_table_holds_cell_by_cell() {
    // The columns of `propylon._filters.expression`: absent, null, true, 5, -2.5, "5", "abc", ["a"], [5], {}.
    let fields = ["", "null", "true", "5", "-2.5", r#""5""#, r#""abc""#, r#"["a"]"#, "[5]", "{}"];
    let rows = [
        (json!(["exists", "f"]), "0111111111"),
        (json!(["null", "f"]), "0100000000"),
        (json!(["==", "f", null]), "0100000000"),
        (json!(["==", "f", true]), "0010000000"),
        (json!(["==", "f", false]), "0000000000"),
        (json!(["==", "f", 5]), "0001010000"),
        (json!(["==", "f", {"float": "5.0"}]), "0001010000"),
        (json!(["==", "f", {"float": "-2.5"}]), "0000100000"),
        (json!(["==", "f", "5"]), "0000010000"),
        (json!(["==", "f", "abc"]), "0000001000"),
        (json!(["in", "f", [null, 5, "abc"]]), "0101011000"),
        (json!(["in", "f", []]), "0000000000"),
        (json!(["<", "f", 6]), "0001110000"),
        (json!(["<=", "f", 5]), "0001110000"),
        (json!([">", "f", -3]), "0001110000"),
        (json!([">=", "f", 5]), "0001010000"),
        (json!(["<", "f", "b"]), "0000011000"),
        (json!([">", "f", "5"]), "0000001000"),
        (json!(["startswith", "f", "ab"]), "0000001000"),
        (json!(["endswith", "f", "bc"]), "0000001000"),
        (json!(["endswith", "f", "xabc"]), "0000000000"),
        (json!(["contains", "f", "b"]), "0000001000"),
        (json!(["contains", "f", "a"]), "0000001100"),
        (json!(["contains", "f", 5]), "0000000010"),
    ];
    for (description, expected) in rows {
        for (value, expected) in fields.iter().zip(expected.bytes()) {
            let data = if value.is_empty() { "{}".to_owned() } else { format!(r#"{{"f":{value}}}"#) };
            assert_eq!(matches(&description, &data), expected == b'1', "{description} of {data}");
            assert_eq!(matches(&json!(["not", description]), &data), expected == b'0', "not {description} of {data}");
        }
    }
}

#[test]
fn keys_may_stand_anywhere_in_any_spelling_and_the_last_one_counts() {
    let seven = json!(["==", "a.b", 7]);
    for data in [
        r#"{"a":{"b":7}}"#,
        r#" { "x" : [ ] , "a" : { "c" : "}" , "b" : 7 } , "y" : { "a" : { "b" : 8 } } } "#,
        r#"{"\u0061":{"\u0062":7}}"#,
        r#"{"a":{"b":8,"b":7}}"#,
        r#"{"a":{"b":8},"a":{"b":7}}"#,
        r#"{"a":8,"a":{"b":"\u0037"}}"#,
    ] {
        assert!(matches(&seven, data), "{data}");
    }
    for data in [
        r#"{"a":{"b":7},"a":{}}"#,
        r#"{"a":{"b":7},"a":null}"#,
        r#"{"a":{"b":7,"\u0062":8}}"#,
        r#"{"a.b":7}"#,
        r#"{"a":[{"b":7}]}"#,
        r#"{"b":7}"#,
    ] {
        assert!(!matches(&seven, data), "{data}");
    }
}

#[test]
fn what_is_no_object_has_no_field() {
    let cut = r#"{"f":5,"g":[1,{"h":"x"}],"i":true}"#;
    for data in (1..cut.len()).map(|end| &cut[..end]).chain([
        "",
        "null",
        "5",
        "[]",
        r#"[{"f":5}]"#,
        r#"{"f":5]"#,
        r#"{"f":5}}"#,
        r#"{"f":5,}"#,
        r#"{"f":5,"g":[}}"#,
        r#"{"f":5 "g":1}"#,
        r#"{"f"5}"#,
        r#"{"f":}"#,
        r#"{"f":5,g:1}"#,
        r#"{"f":05}"#,
        r#"{"f":tru}"#,
        r#"{"f":+5}"#,
        r#"{"f":.5}"#,
        r#"{"f":5.}"#,
        r#"{"f":inf}"#,
        r#"{"f":NaN}"#,
        "\u{feff}{\"f\":5}",
    ]) {
        assert!(!matches(&json!(["exists", "f"]), data), "{data}");
        assert!(matches(&json!(["not", ["==", "f", 5]]), data), "{data}");
    }
}

#[test]
fn numbers_compare_exactly_up_to_64_bits() {
    let big = "18446744073709551615";
    for (description, value, expected) in [
        (json!(["==", "f", u64::MAX]), big, true),
        (json!(["==", "f", u64::MAX]), "\"18446744073709551615\"", true),
        (json!(["==", "f", u64::MAX - 1]), big, false),
        (json!([">", "f", u64::MAX]), "18446744073709551616", true),
        (json!([">", "f", u64::MAX]), "\"18446744073709551616\"", false), // text that is no integer of 64 bits
        (json!(["==", "f", i64::MIN]), "-9223372036854775808", true),
        (json!(["==", "f", (1_u64 << 53) + 1]), "9007199254740992.0", false),
        (json!(["==", "f", {"float": "9007199254740992.0"}]), "9007199254740993", false),
        (json!(["<", "f", {"float": "0.5"}]), "0", true),
        (json!([">", "f", {"float": "-0.5"}]), "0", true),
        (json!(["==", "f", 0]), "-0.0", true),
        (json!(["==", "f", 100]), "1e2", true),
        (json!([">", "f", u64::MAX]), "1e999", true),
        (json!(["<", "f", {"float": "-1e300"}]), "-1e999", true),
        (json!(["==", "f", {"float": "0.1"}]), "1E-1", true),
        (json!(["==", "f", 7]), "\"07\"", false),
        (json!(["==", "f", 7]), "\" 7\"", false),
        (json!(["==", "f", 0]), "\"-\"", false),
    ] {
        assert_eq!(matches(&description, &format!(r#"{{"f":{value}}}"#)), expected, "{description} of {value}");
    }
}

#[test]
fn text_is_compared_unescaped() {
    let data = r#"{"f":"\"a\\b\u00e9\ud83d\ude00\n"}"#;
    let text = "\"a\\bé😀\n";
    for description in [
        json!(["==", "f", text]),
        json!(["in", "f", [text, "other"]]),
        json!(["startswith", "f", "\"a\\bé"]),
        json!(["endswith", "f", "😀\n"]),
        json!(["contains", "f", "bé😀"]),
        json!(["contains", "f", ""]),
        json!(["<=", "f", text]),
        json!(["<", "f", "\"a\\bé😁"]),
        json!([">", "f", "\"a\\b\u{7f}"]),
    ] {
        assert!(matches(&description, data), "{description}");
    }
    // Half a surrogate pair is U+FFFD, and no error.
    for half in [r#"{"f":"a\ud800b"}"#, r#"{"f":"a\udc00b"}"#] {
        assert!(matches(&json!(["==", "f", "a\u{fffd}b"]), half));
    }
    // What is no UTF-8 equals nothing but does no harm.
    assert!(filter(&json!(["contains", "f", "b"])).matches(b"{\"f\":\"a\xff\xfeb\"}"));
}

#[test]
fn moments_compare_whatever_their_offset() {
    // `date -u -d 2024-02-29T12:00:00.5Z +%s%6N`
    let leap_day = 1_709_208_000_500_000_i64;
    for text in [
        "2024-02-29T12:00:00.5Z",
        "2024-02-29 12:00:00.500000+00:00",
        "2024-02-29t13:30:00.5000009+01:30",
        "2024-02-28T12:01:00.5-23:59",
        r"2024-02-29T12:00:00.5\u005a",
    ] {
        let data = format!(r#"{{"f":"{text}"}}"#);
        for description in [
            json!(["==", "f", {"time": leap_day}]),
            json!(["in", "f", [5, {"time": 0}, {"time": leap_day}]]),
            json!(["<", "f", {"time": leap_day + 1}]),
            json!([">=", "f", {"time": leap_day}]),
        ] {
            assert!(matches(&description, &data), "{description} of {data}");
        }
        assert!(!matches(&json!([">", "f", {"time": leap_day}]), &data));
    }
    for (text, micros) in [
        ("1970-01-01T00:00:00Z", 0_i64),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2000-03-01T00:00:00Z", 951_868_800_000_000),
        ("2100-03-01T00:00:00Z", 4_107_542_400_000_000),
    ] {
        assert!(matches(&json!(["==", "f", {"time": micros}]), &format!(r#"{{"f":"{text}"}}"#)), "{text}");
    }
    let any = json!(["<", "f", {"time": i64::MAX}]);
    for no_moment in [
        "",
        "2024-02-29",
        "2024-02-29T12:00:00",
        "2023-02-29T12:00:00Z",
        "2100-02-29T12:00:00Z",
        "2024-13-01T12:00:00Z",
        "2024-00-01T12:00:00Z",
        "2024-04-31T12:00:00Z",
        "2024-04-00T12:00:00Z",
        "0000-04-01T12:00:00Z",
        "2024-04-01T24:00:00Z",
        "2024-04-01T12:60:00Z",
        "2024-04-01T12:00:60Z",
        "2024-04-01T12:00:00.Z",
        "2024-04-01T12:00:00+0000",
        "2024-04-01T12:00:00+24:00",
        "2024-04-01T12:00:00+00:60",
        "2024-04-01T12:00:00Z ",
        "2024-04-01X12:00:00Z",
        "é24-04-01T12:00:00Z",
    ] {
        assert!(!matches(&any, &format!(r#"{{"f":"{no_moment}"}}"#)), "{no_moment}");
    }
    assert!(!matches(&any, r#"{"f":5}"#));
}

#[test]
fn a_repetitive_text_costs_its_length_and_no_more() {
    // Naively 10^11 comparisons.
    let needle = format!("{}b", "a".repeat(100_000));
    let escaped = format!(r#"{{"f":"\u0061{}"}}"#, "a".repeat(1_000_000));
    assert!(!matches(&json!(["contains", "f", needle]), &escaped));
    assert!(matches(&json!(["contains", "f", "aab"]), r#"{"f":"\u0061aaab"}"#));
}

#[test]
fn deep_nesting_costs_its_length_and_no_stack() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert!(matches(&json!(["exists", "a"]), &deep));
    assert!(!matches(&json!(["contains", "a", 5]), &deep));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    assert!(matches(&json!(["exists", "a.a.a"]), &objects));
}

#[test]
fn descriptions_that_are_none_are_errors() {
    let deep = (0..40).fold(json!(["exists", "f"]), |inner, _| json!(["not", inner]));
    for description in [
        json!(null),
        json!([]),
        json!(["xor", ["exists", "f"]]),
        json!(["==", "f"]),
        json!(["==", 5, 5]),
        json!(["==", "f", [5]]),
        json!(["==", "f", {"float": "nan"}]),
        json!(["<", "f", true]),
        json!(["in", "f", 5]),
        json!(["==", "f", {"time": 0.5}]),
        json!(["contains", "f"]),
        json!(["not"]),
        deep,
    ] {
        assert!(Filter::parse(&description.to_string()).is_err(), "{description}");
    }
    assert!(Filter::parse("[").is_err());
}

/// The slots that a matcher finds, each once, in rising order.
fn found(matcher: &Matcher, data: &str) -> Vec<Slot> {
    let mut slots = Vec::new();
    matcher.matches(data.as_bytes(), |slot| slots.push(slot));
    slots.sort_unstable();
    slots.dedup();
    slots
}

#[test]
fn low_slots_are_bits_high_ones_a_list_and_each_change_a_generation() {
    let (bot, ping) = (filter(&json!(["==", "author.bot", true])), filter(&json!(["==", "content", "ping"])));
    let events = EventSet::from_iter([EventType::MESSAGE_CREATE]);
    let table = Subscriptions::default();
    assert_eq!((table.add(1, Some(&bot), events), table.add(70, Some(&ping), events)), (1, 2));
    let both = r#"{"content":"ping","author":{"bot":true}}"#;
    let slots = |data: &str| table.matches(EventType::MESSAGE_CREATE, data.as_bytes());
    let heard = |generation, low, high: &[Slot]| {
        Slots::Heard(Heard { generation, low, high: (!high.is_empty()).then(|| high.into()) }, Projections::Whole)
    };
    assert_eq!(slots(r#"{"author":{"bot":true},"content":"pong"}"#), heard(2, 2, &[]));
    assert_eq!(slots(r#"{"content":"ping","author":{}}"#), heard(2, 0, &[70]));
    assert_eq!(slots(both), heard(2, 2, &[70]));
    assert_eq!(slots("{}"), Slots::Filtered);
    assert_eq!(table.matches(EventType::MESSAGE_UPDATE, b"{}"), Slots::Unheard);
    assert_eq!(table.add(0, None, events), 3);
    assert_eq!(slots("{}"), heard(3, 1, &[]));
    assert_eq!(slots(both), heard(3, 3, &[70]));
    assert_eq!(table.remove(70, events), 4);
    assert_eq!(slots(both), heard(4, 3, &[]));
    table.remove(1, events);
    assert_eq!(slots(both), heard(5, 1, &[]));
    table.remove(0, events);
    assert_eq!(slots(both), Slots::Unheard);
}

#[test]
fn many_filters_with_many_tests_share_one_pass() {
    let mut matcher = Matcher::default();
    for slot in 1..=200_u32 {
        let parts: Vec<Json> = (0..10).map(|at| json!(["<=", format!("k{}", slot * 10 + at), slot])).collect();
        filter(&Json::from([vec![json!("and")], parts].concat())).insert_into(&mut matcher, slot);
    }
    let fields = |slots: &[u32]| {
        let fields: Vec<String> =
            slots.iter().flat_map(|slot| (0..10).map(move |at| format!(r#""k{}":{slot}"#, slot * 10 + at))).collect();
        format!("{{{}}}", fields.join(","))
    };
    assert_eq!(found(&matcher, &fields(&[3, 40, 163])), [3, 40, 163]);
    assert!(found(&matcher, "{}").is_empty());
    matcher.remove(40);
    assert_eq!(found(&matcher, &fields(&[3, 40, 200])), [3, 200]);
}

#[test]
fn a_crowd_at_one_value_is_asked_in_the_one_pass() {
    let mut matcher = Matcher::default();
    for command in 1..=100_u32 {
        let parts = json!(["and", ["==", "guild_id", 9], ["startswith", "content", format!("!{command} ")]]);
        filter(&parts).insert_into(&mut matcher, command);
    }
    let said = |guild: u32, content: &str| format!(r#"{{"guild_id":"{guild}","content":"{content}"}}"#);
    for command in [1, 4, 5, 50, 100] {
        assert_eq!(found(&matcher, &said(9, &format!("!{command} now"))), [command]);
    }
    assert!(found(&matcher, &said(8, "!5 now")).is_empty());
    assert_eq!(matcher.asked_apart(), 4);
    (1..=100).rev().for_each(|command| matcher.remove(command));
    assert!(matcher.is_bare());
}

#[test]
fn an_index_goes_by_the_value_that_fewest_ask_for_and_asks_for_the_rest() {
    let mut matcher = Matcher::default();
    for user in 1..=500_u32 {
        let parts = json!(["and", ["==", "channel_id", 9], ["==", "author.id", user], ["startswith", "content", "!"]]);
        filter(&parts).insert_into(&mut matcher, user);
    }
    let message = |channel: u32, user: u32, content: &str| {
        format!(r#"{{"channel_id":"{channel}","author":{{"id":"{user}"}},"content":"{content}"}}"#)
    };
    assert_eq!(found(&matcher, &message(9, 77, "!go")), [77]);
    assert!(found(&matcher, &message(8, 77, "!go")).is_empty());
    assert!(found(&matcher, &message(9, 77, "go")).is_empty());
    assert!(found(&matcher, &message(9, 501, "!go")).is_empty());
    (1..=500).for_each(|user| matcher.remove(user));
    assert!(matcher.is_empty());
}

/// The same question, asked of a tree.
fn plain(description: &Json, data: &Json) -> bool {
    let (name, rest) = (description[0].as_str().unwrap(), &description.as_array().unwrap()[1..]);
    match name {
        "and" => rest.iter().all(|part| plain(part, data)),
        "or" => rest.iter().any(|part| plain(part, data)),
        "not" => !plain(&rest[0], data),
        _ => {
            let path = format!("/{}", rest[0].as_str().unwrap().replace('.', "/"));
            // A pointer would look into arrays.
            let found = path.split('/').skip(1).try_fold(data, |at, key| at.as_object()?.get(key));
            found.is_some_and(|found| test(name, found, rest.get(1)))
        }
    }
}

fn test(name: &str, found: &Json, operand: Option<&Json>) -> bool {
    let order = |found: &Json, operand: &Json| -> Option<Ordering> {
        match (found, operand) {
            (Json::Number(one), Json::Number(other)) => Some(one.as_i64()?.cmp(&other.as_i64()?)),
            (Json::String(one), Json::Number(other)) => {
                let number: i64 = one.parse().ok()?;
                (number.to_string() == *one).then_some(number.cmp(&other.as_i64()?))
            }
            (Json::String(one), Json::String(other)) => Some(one.cmp(other)),
            _ => None,
        }
    };
    let equals = |found: &Json, operand: &Json| match (found, operand) {
        (Json::Null, Json::Null) => true,
        (Json::Bool(one), Json::Bool(other)) => one == other,
        _ => order(found, operand) == Some(Ordering::Equal),
    };
    match (name, operand) {
        ("exists", _) => true,
        ("null", _) => found.is_null(),
        ("==", Some(operand)) => equals(found, operand),
        ("in", Some(operand)) => operand.as_array().unwrap().iter().any(|operand| equals(found, operand)),
        ("contains", Some(operand)) => match (found, operand) {
            (Json::Array(elements), operand) => elements.iter().any(|element| equals(element, operand)),
            (Json::String(one), Json::String(other)) => one.contains(other.as_str()),
            _ => false,
        },
        ("startswith", Some(operand)) => found.as_str().is_some_and(|text| text.starts_with(operand.as_str().unwrap())),
        ("endswith", Some(operand)) => found.as_str().is_some_and(|text| text.ends_with(operand.as_str().unwrap())),
        (relation, Some(operand)) => order(found, operand).is_some_and(|order| match relation {
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            _ => order.is_ge(),
        }),
        _ => unreachable!(),
    }
}

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-3..4_i64).prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        r#"[ab"\\\né😀0-3-]{0,4}"#.prop_map(Json::from),
    ]
}

fn value() -> impl Strategy<Value = Json> {
    scalar().prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::hash_map("[abc]", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn description() -> impl Strategy<Value = Json> {
    let path = "[abc](\\.[abc]){0,2}";
    let text = r#"[ab"\\\né😀]{0,2}"#;
    let leaf = prop_oneof![
        (prop::sample::select(vec!["exists", "null"]), path).prop_map(|(name, path)| json!([name, path])),
        (path, scalar()).prop_map(|(path, operand)| json!(["==", path, operand])),
        (path, prop::collection::vec(scalar(), 0..5)).prop_map(|(path, operands)| json!(["in", path, operands])),
        (path, scalar().prop_filter("a value", |operand| !operand.is_null()))
            .prop_map(|(path, operand)| json!(["contains", path, operand])),
        (prop::sample::select(vec!["<", "<=", ">", ">="]), path, -3..4_i64)
            .prop_map(|(name, path, operand)| json!([name, path, operand])),
        (prop::sample::select(vec!["<", "<=", ">", ">=", "startswith", "endswith", "contains"]), path, text)
            .prop_map(|(name, path, operand)| json!([name, path, operand])),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|parts| Json::from([vec![json!("and")], parts].concat())),
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|parts| Json::from([vec![json!("or")], parts].concat())),
            inner.prop_map(|part| json!(["not", part])),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_json_tree(
        descriptions in prop::collection::vec(description(), 1..4),
        passing in prop::collection::vec(description(), 0..4),
        data in prop::collection::hash_map("[abc]", value(), 0..4),
        pretty in any::<bool>(),
    ) {
        let data: Json = data.into_iter().collect();
        let text = if pretty { serde_json::to_string_pretty(&data) } else { serde_json::to_string(&data) }.unwrap();
        let filters: Vec<Filter> = descriptions.iter().map(filter).collect();
        // Some come and go before, between and after those that stay: nothing of them may remain.
        let mut matcher = Matcher::default();
        for (slot, passing) in (1000..).zip(&passing) {
            filter(passing).insert_into(&mut matcher, slot);
        }
        for (slot, one) in (1..).zip(&filters) {
            one.insert_into(&mut matcher, slot);
            if let Some(passing) = passing.get(slot as usize - 1) {
                prop_assert_eq!(found(&matcher, &text).contains(&(999 + slot)), plain(passing, &data));
                matcher.remove(999 + slot);
            }
        }
        (filters.len()..passing.len()).for_each(|place| matcher.remove(1000 + place as Slot));
        let slots = found(&matcher, &text);
        for (slot, description) in (1..).zip(&descriptions) {
            let expected = plain(description, &data);
            prop_assert_eq!(slots.contains(&slot), expected, "{} of {}", description, &text);
            prop_assert_eq!(filters[slot as usize - 1].matches(text.as_bytes()), expected);
        }
        prop_assert!(slots.iter().all(|&slot| slot <= descriptions.len() as Slot));
        (1..=filters.len()).for_each(|slot| matcher.remove(slot as Slot));
        prop_assert!(matcher.is_empty());
        prop_assert!(matcher.is_bare(), "{:?}", matcher);
    }

    #[test]
    fn what_an_index_finds_agrees_with_a_json_tree(
        wanted in prop::collection::vec(("[abc](\\.[abc]){0,2}", scalar()), 1..4),
        data in prop::collection::vec(("[abc]", value()), 0..4),
        spelled in any::<bool>(),
        blanks in any::<bool>(),
    ) {
        // As text, so that a key may come twice, and in another spelling.
        let tree: Json = data.iter().cloned().collect::<serde_json::Map<_, _>>().into();
        let key = |key: &str| if spelled { format!("\\u00{:02x}", key.as_bytes()[0]) } else { key.to_owned() };
        let colon = if blanks { " : " } else { ":" };
        let members: Vec<String> =
            data.iter().map(|(name, value)| format!("\"{}\"{colon}{value}", key(name))).collect();
        let text = format!("{{{}}}", members.join(","));
        let mut matcher = Matcher::default();
        let descriptions: Vec<Json> =
            wanted.iter().map(|(path, operand)| json!(["in", path, [operand]])).collect();
        for (slot, description) in (1..).zip(&descriptions) {
            filter(description).insert_into(&mut matcher, slot);
        }
        let slots = found(&matcher, &text);
        for (slot, description) in (1..).zip(&descriptions) {
            prop_assert_eq!(slots.contains(&slot), plain(description, &tree), "{} of {}", description, &text);
        }
    }

    #[test]
    fn no_bytes_do_harm(
        description in description(),
        bytes in prop::collection::vec(prop::sample::select(br#"{}[]":,\ud8abc-+.015eE tfn"#.to_vec()), 0..60),
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let filter = filter(&description);
        filter.matches(&bytes);
        filter.matches(&[br#"{"a":"#, &*bytes, &*tail].concat());
    }
}
