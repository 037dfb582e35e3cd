//! Reading the provider's answer: it counts only if everything it must say is there and reads right.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::domain::{Answer, QueryFailure, Status, Verdict};

/// The most of a `code` that is kept.
const MAX_CODE_CHARS: usize = 32;

type Object<'a> = BTreeMap<String, &'a RawValue>;

/// Reads the body of an HTTP 200 (contract §5): JSON object, `code` `"0000"`, `success` true, a readable status.
///
/// # Errors
/// Which of them it is not.
pub fn read_answer(body: &[u8]) -> Result<Answer, QueryFailure> {
    let data = read_data(body)?;
    let data: Object<'_> = data
        .and_then(|data| serde_json::from_str(data.get()).ok())
        .ok_or(QueryFailure::Unreadable)?;
    let status = data
        .get("authenticationStatus")
        .and_then(|status| text(status))
        .and_then(|status| Status::parse(&status).ok())
        .ok_or(QueryFailure::Unreadable)?;
    let reason = data.get("failReason").and_then(|reason| text(reason));
    Ok(Answer::Verdict(Verdict::new(status, reason)))
}

/// What every answer of the provider has around its `data`: `code` `"0000"` and `success` true.
///
/// # Errors
/// Not a JSON object, or declined.
pub(super) fn read_data(body: &[u8]) -> Result<Option<&RawValue>, QueryFailure> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let answer: Object<'_> =
        serde_json::from_slice(body).map_err(|_not_an_object| QueryFailure::NotJson)?;
    let code = answer
        .get("code")
        .and_then(|code| text(code))
        .unwrap_or_default();
    // Boolean by the provider's page; some of its sister pages type it as a string.
    let success = answer.get("success").and_then(|value| text(value));
    if code != "0000" || success.as_deref() != Some("true") {
        let code = code
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_CODE_CHARS)
            .collect();
        return Err(QueryFailure::Refused(code));
    }
    Ok(answer.get("data").copied())
}

/// A string's text, or a number's or boolean's literal; `None` for null, arrays and objects.
fn text(value: &RawValue) -> Option<String> {
    let literal = value.get();
    match literal.as_bytes().first()? {
        b'"' => serde_json::from_str(literal).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(literal.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &str) -> Result<Answer, QueryFailure> {
        read_answer(body.as_bytes())
    }

    fn verdict(code: &str, reason: Option<&str>) -> Result<Answer, QueryFailure> {
        let status = Status::parse(code).expect("valid");
        Ok(Answer::Verdict(Verdict::new(
            status,
            reason.map(str::to_owned),
        )))
    }

    #[test]
    fn a_published_answer_is_a_verdict() {
        let body = r#"{"msg":"success","code":"0000","timestamp":"1732988442913","success":true,
            "data":{"authenticationStatus":"3","failReason":"証明書の期限切れ"}}"#;
        assert_eq!(read(body), verdict("3", Some("証明書の期限切れ")));
    }

    #[test]
    fn what_sister_pages_type_otherwise_is_read_as_meant() {
        let body = r#"{"code":"0000","success":"true","data":{"authenticationStatus":2,"failReason":null}}"#;
        assert_eq!(read(body), verdict("2", None));
    }

    #[test]
    fn an_unknown_status_is_passed_on_as_it_came() {
        let body = r#"{"code":"0000","success":true,"data":{"authenticationStatus":"4"}}"#;
        assert_eq!(read(body), verdict("4", None));
        let body = r#"{"code":"0000","success":true,"data":{"authenticationStatus":"02"}}"#;
        assert_eq!(
            read(body),
            Ok(Answer::Verdict(Verdict::new(
                Status::Unknown("02".into()),
                None
            )))
        );
    }

    #[test]
    fn an_answer_that_lacks_anything_is_no_verdict() {
        let data = r#""data":{"authenticationStatus":"2"}"#;
        for (body, failure) in [
            (String::new(), QueryFailure::NotJson),
            ("<html>".into(), QueryFailure::NotJson),
            ("[]".into(), QueryFailure::NotJson),
            ("{}".into(), QueryFailure::Refused(String::new())),
            (
                format!(r#"{{"code":"0000",{data}}}"#),
                QueryFailure::Refused("0000".into()),
            ),
            (
                format!(r#"{{"code":"0000","success":false,{data}}}"#),
                QueryFailure::Refused("0000".into()),
            ),
            (
                format!(r#"{{"code":"1001","success":true,{data}}}"#),
                QueryFailure::Refused("1001".into()),
            ),
            (
                format!(r#"{{"code":0,"success":true,{data}}}"#),
                QueryFailure::Refused("0".into()),
            ),
            (
                r#"{"code":"0000","success":true}"#.into(),
                QueryFailure::Unreadable,
            ),
            (
                r#"{"code":"0000","success":true,"data":[]}"#.into(),
                QueryFailure::Unreadable,
            ),
            (
                r#"{"code":"0000","success":true,"data":{}}"#.into(),
                QueryFailure::Unreadable,
            ),
            (
                r#"{"code":"0000","success":true,"data":{"authenticationStatus":null}}"#.into(),
                QueryFailure::Unreadable,
            ),
            (
                r#"{"code":"0000","success":true,"data":{"authenticationStatus":""}}"#.into(),
                QueryFailure::Unreadable,
            ),
            (
                r#"{"code":"0000","success":true,"data":{"authenticationStatus":{"a":2}}}"#.into(),
                QueryFailure::Unreadable,
            ),
        ] {
            assert_eq!(read(&body), Err(failure), "{body}");
        }
    }

    #[test]
    fn deep_nesting_does_no_harm() {
        let deep = "[".repeat(30_000) + &"]".repeat(30_000);
        let body = format!(
            r#"{{"x":{deep},"code":"0000","success":true,"data":{{"authenticationStatus":"2"}}}}"#
        );
        let _any_answer_but_no_crash = read(&body);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _any = read_answer(&body);
        }
    }
}
