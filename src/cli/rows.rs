//! Files of applications, CSV or JSON Lines, found out by looking.
//!
//! Promise: every line comes out, as an application or as what is wrong with it; no text of a line is repeated in an
//! error, because it may be a name.

use serde::Deserialize;

use crate::domain::{Furigana, UserId};

/// One application to send.
pub(super) struct Row {
    pub(super) user: UserId,
    pub(super) name: Furigana,
}

/// What stands in a line.
pub(super) struct Line {
    pub(super) number: usize,
    /// The user's id as it stands there, be it valid or not; empty where it cannot be found.
    pub(super) id: String,
    pub(super) read: Result<Row, String>,
}

/// The names of the two fields: those of the provider.
const USER: &str = "userId";
const NAME: &str = "usernameFurigana";

/// Reads a whole file.
///
/// # Errors
/// Not text, nothing in it, or a CSV whose header does not name both fields.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Line>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = count_lines(bytes.get(..error.valid_up_to()).unwrap_or_default());
        format!("line {line}: not UTF-8\n  hint: iconv -f SHIFT_JIS -t UTF-8")
    })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    match text.trim_start().chars().next() {
        None => Err("there is nothing in it".into()),
        Some('{') => Ok(json_lines(text)),
        Some(_) => csv(text),
    }
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn row(user: &str, name: &str) -> Result<Row, String> {
    Ok(Row {
        user: user.parse().map_err(|error| format!("{USER}: {error}"))?,
        name: name.parse().map_err(|error| format!("{NAME}: {error}"))?,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonRow {
    user_id: String,
    username_furigana: String,
}

fn json_lines(text: &str) -> Vec<Line> {
    let lines = text.lines().enumerate();
    let filled = lines.filter(|(_, line)| !line.trim().is_empty());
    filled
        .map(|(index, line)| {
            let parsed: Result<JsonRow, _> = serde_json::from_str(line);
            let number = index + 1;
            match parsed {
                Ok(found) => Line {
                    number,
                    read: row(&found.user_id, &found.username_furigana),
                    id: found.user_id,
                },
                Err(error) => Line {
                    number,
                    id: String::new(),
                    read: Err(format!(
                        "not a JSON object with the strings {USER} and {NAME} (column {})",
                        error.column()
                    )),
                },
            }
        })
        .collect()
}

fn csv(text: &str) -> Result<Vec<Line>, String> {
    let mut records = records(text).into_iter();
    let header = records.next().map(|(_, fields)| fields).unwrap_or_default();
    let place = |name: &str| {
        let at = header.iter().position(|field| field.trim() == name);
        at.ok_or_else(|| {
            format!("line 1: no column {name}; expected a header with {USER},{NAME}, or JSON Lines")
        })
    };
    let (user, name) = (place(USER)?, place(NAME)?);
    let rows = records.map(|(number, fields)| {
        let read = match (fields.get(user), fields.get(name)) {
            _ if fields.len() != header.len() => Err(format!(
                "{} fields, expected {} as in the header",
                fields.len(),
                header.len()
            )),
            (Some(user), Some(name)) => row(user, name),
            _ => Err("a field is missing".into()),
        };
        let id = fields.get(user).cloned().unwrap_or_default();
        Line { number, id, read }
    });
    Ok(rows.collect())
}

/// The records of a CSV (RFC 4180), each with the line it begins on; empty lines are none.
fn records(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let (mut fields, mut field) = (Vec::new(), String::new());
    let (mut line, mut begins) = (1, 1);
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                line += 1;
                end_record(&mut found, begins, &mut fields, &mut field);
                begins = line;
            }
            other => {
                line += usize::from(other == '\n');
                field.push(other);
            }
        }
    }
    end_record(&mut found, begins, &mut fields, &mut field);
    found
}

fn end_record(
    found: &mut Vec<(usize, Vec<String>)>,
    begins: usize,
    fields: &mut Vec<String>,
    field: &mut String,
) {
    let mut whole = std::mem::take(fields);
    whole.push(std::mem::take(field));
    if whole.iter().any(|field| !field.trim().is_empty()) {
        found.push((begins, whole));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn users(text: &str) -> Vec<(usize, Option<String>)> {
        let lines = parse(text.as_bytes()).expect("readable");
        let user = |read: Result<Row, String>| read.ok().map(|row| row.user.to_string());
        lines
            .into_iter()
            .map(|line| (line.number, user(line.read)))
            .collect()
    }

    fn user(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn a_csv_is_read_by_its_header_whatever_else_stands_in_it() {
        let text = "\u{FEFF}note,usernameFurigana,userId\r\n\"a \"\"b\"\"\nc\",ヤマダ,u1\r\n\r\n,サトー,\"u,2\"\r\n";
        assert_eq!(users(text), [(2, user("u1")), (5, user("u,2"))]);
    }

    #[test]
    fn json_lines_are_known_by_their_first_character() {
        let text = "\n{\"userId\":\"u1\",\"usernameFurigana\":\"ヤマダ\"}\nnonsense\n";
        assert_eq!(users(text), [(2, user("u1")), (3, None)]);
    }

    #[test]
    fn what_is_wrong_is_said_by_line_and_without_the_name() {
        let text = "userId,usernameFurigana\nu1,山田\n,ヤマダ\nu3\n";
        let errors: Vec<_> = parse(text.as_bytes())
            .expect("readable")
            .into_iter()
            .map(|line| (line.number, line.read.err().expect("wrong")))
            .collect();
        assert_eq!(
            errors.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [2, 3, 4]
        );
        assert!(
            errors.iter().all(|(_, why)| !why.contains('山')),
            "{errors:?}"
        );
        assert!(errors[0].1.contains("katakana") && errors[1].1.contains("empty"));
    }

    #[test]
    fn a_file_that_is_neither_says_what_is_expected() {
        for (bytes, hint) in [
            (b"".as_slice(), "nothing"),
            (b"u1\nu2\n", "userId,usernameFurigana"),
            (b"userId,usernameFurigana\nu1,\x83\x84", "line 2: not UTF-8"),
        ] {
            let error = parse(bytes).err().expect("refused");
            assert!(error.contains(hint), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(text in "[{}\",\na\r]{0,60}") {
            let _any = parse(text.as_bytes());
        }
    }
}
