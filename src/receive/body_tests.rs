//! Tests of [`super`]: the shapes a callback may come in, and that none of them is the end of the process.

use proptest::prelude::*;

use super::*;
use crate::domain::{Secret, Secrets, SignCheck};
use crate::signing::vexora::{ParamValue, check, sign};

fn user(body: &str, query: Option<&str>) -> Option<String> {
    read(body.as_bytes(), query)
        .user
        .map(|user| user.as_str().to_owned())
}

fn secret() -> Secret {
    Secret::new("s3cr3t")
}

fn checked(body: &str) -> SignCheck {
    check(
        &read(body.as_bytes(), None).params,
        &Secrets::new(secret(), vec![]),
    )
}

#[test]
fn the_user_is_found_wherever_it_may_stand() {
    for (body, query) in [
        (r#"{"userId":"u1"}"#, None),
        ("\u{FEFF} \r\n{\"userId\":\"u1\"}\n", None),
        (" \n\u{FEFF}{\"userId\":\"u1\"}", None),
        (r#"{"data":{"userId":"u1"}}"#, None),
        (r#"{"data":"{\"userId\":\"u1\"}"}"#, None),
        (r#"{"userId":"","data":{"userId":"u1"}}"#, None),
        (r#"{"userId":null}"#, Some("userId=u1")),
        ("userId=u1&authenticationStatus=2", None),
        ("data=%7B%22userId%22%3A%22u1%22%7D", None),
        ("nothing of use", Some("x=1&userId=u1")),
    ] {
        assert_eq!(user(body, query).as_deref(), Some("u1"), "{body}");
    }
}

#[test]
fn a_number_is_a_user_id_as_it_is_written() {
    assert_eq!(
        user(r#"{"userId":100008}"#, None).as_deref(),
        Some("100008")
    );
    assert_eq!(user(r#"{"userId":1.0e2}"#, None).as_deref(), Some("1.0e2"));
}

#[test]
fn what_is_no_user_id_is_nobody() {
    let long = format!(r#"{{"userId":"{}"}}"#, "u".repeat(129));
    for body in [
        "",
        "[]",
        "{",
        "null",
        r#"{"userId":true}"#,
        r#"{"userId":{"a":1}}"#,
        r#"{"userId":["u1"]}"#,
        r#"{"userId":"a\u0000b"}"#,
        r#"{"userId":"\ud800"}"#,
        r#"{"userId":"u1"} trailing"#,
        "userId=%ff",
        long.as_str(),
    ] {
        assert_eq!(user(body, None), None, "{body}");
    }
    // The first that is there counts; an invalid one is not made up for by another.
    assert_eq!(user(r#"{"userId":"a\nb"}"#, Some("userId=u1")), None);
}

#[test]
fn a_claim_is_kept_as_it_came_up_to_64_bytes() {
    let claim = |text: &str| {
        let body = format!(r#"{{"authenticationStatus":"{text}"}}"#);
        read(body.as_bytes(), None).claim
    };
    assert_eq!(claim("2").as_deref(), Some("2"));
    assert_eq!(claim(&"x".repeat(64)).map(|text| text.len()), Some(64));
    assert_eq!(claim(&"x".repeat(65)), None);
    let number = read(br#"{"authenticationStatus":3}"#, None);
    assert_eq!(number.claim.as_deref(), Some("3"));
}

#[test]
fn the_sign_is_checked_over_the_object_in_which_it_stands() {
    let pairs = [("timestamp", "1732988442913"), ("userId", "u1")];
    let good = sign(pairs, &secret());
    let object = format!(r#"{{"userId":"u1","timestamp":1732988442913,"sign":"{good}"}}"#);
    assert_eq!(checked(&object), SignCheck::Valid);
    assert_eq!(
        checked(&format!(r#"{{"code":"0000","data":{object}}}"#)),
        SignCheck::Valid
    );
    let text = serde_json::to_string(&object).expect("a text");
    assert_eq!(checked(&format!(r#"{{"data":{text}}}"#)), SignCheck::Valid);
    let outside = format!(r#"{{"sign":"{good}","data":{{"userId":"u1"}}}}"#);
    assert_eq!(checked(&outside), SignCheck::Invalid);
    assert_eq!(checked(r#"{"userId":"u1","sign":""}"#), SignCheck::Missing);
}

#[test]
fn a_null_is_accepted_under_both_readings() {
    let body = |sign: &str| format!(r#"{{"userId":"u1","failReason":null,"sign":"{sign}"}}"#);
    let omitted = sign([("userId", "u1")], &secret());
    let spelled = sign([("userId", "u1"), ("failReason", "null")], &secret());
    assert_eq!(checked(&body(&omitted)), SignCheck::Valid);
    assert_eq!(checked(&body(&spelled)), SignCheck::Valid);
    assert_eq!(checked(&body(&"0".repeat(32))), SignCheck::Invalid);
}

fn form(pairs: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

fn multipart(pairs: &[(String, String)]) -> String {
    let mut body = String::new();
    for (name, value) in pairs {
        body += &format!(
            "--x-boundary\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
    }
    body + "--x-boundary--\r\n"
}

proptest! {
    #[test]
    fn the_same_pairs_read_the_same_in_every_format(
        pairs in proptest::collection::btree_map("[a-zA-Z]{1,12}", "\\PC{0,30}", 1..8),
        user in "[a-z_0-9]{1,20}",
    ) {
        let mut pairs = pairs;
        pairs.remove("data");
        pairs.insert("userId".to_owned(), user.clone());
        let json = serde_json::to_string(&pairs).expect("json");
        let pairs: Vec<(String, String)> = pairs.into_iter().collect();
        let expected = read(json.as_bytes(), None);
        prop_assert_eq!(expected.user.as_ref().map(UserId::as_str), Some(user.as_str()));
        prop_assert_eq!(expected.params.len(), pairs.len());
        prop_assert_eq!(&read(form(&pairs).as_bytes(), None), &expected);
        prop_assert_eq!(&read(multipart(&pairs).as_bytes(), None), &expected);
    }

    #[test]
    fn a_number_keeps_its_literal(literal in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,12})?([eE][+-]?[0-9]{1,3})?") {
        let reading = read(format!("{{\"timestamp\": {literal}}}").as_bytes(), None);
        prop_assert_eq!(reading.params, vec![("timestamp".to_owned(), ParamValue::Text(literal))]);
    }

    #[test]
    fn no_bytes_are_the_end_of_us(body in proptest::collection::vec(any::<u8>(), 0..400), query in "\\PC{0,60}") {
        let _ = read(&body, Some(&query));
    }

    #[test]
    fn nor_are_real_bodies_with_a_few_bytes_changed(
        sample in 0usize..4,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let pairs = [("userId".to_owned(), "jp_1".to_owned()), ("sign".to_owned(), "0".repeat(32))];
        let mut body = match sample {
            0 => br#"{"userId":"jp_1","timestamp":1732988442913,"failReason":null,"sign":"00"}"#.to_vec(),
            1 => br#"{"data":"{\"userId\":\"\u30e4\"}","x":[1,{"y":"\ud83d\ude00"}]}"#.to_vec(),
            2 => form(&pairs).into_bytes(),
            _ => multipart(&pairs).into_bytes(),
        };
        for (index, byte) in edits {
            let at = index.index(body.len());
            body[at] = byte;
        }
        body.truncate(cut.index(body.len()) + 1);
        let _ = read(&body, None);
    }
}
