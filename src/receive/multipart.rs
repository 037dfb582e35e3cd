//! The text fields of a multipart body whose boundary is read from the body itself.
//!
//! Promise: pure, one pass over the lines, nothing kept but the fields. It is not a general multipart parser: files
//! are skipped, transfer encodings are not undone, nested multiparts are not entered.

use super::fields::{Fields, Value};

/// RFC 2046 §5.1.1: a boundary has at most 70 characters.
const MAX_BOUNDARY: usize = 70;

/// The text fields, or `None` if this does not begin as a multipart body does: with a line of `--` and a boundary.
pub(super) fn read(body: &[u8]) -> Option<Fields> {
    let mut lines = body.split_inclusive(|byte| *byte == b'\n');
    let delimiter = without_line_end(lines.next()?).trim_ascii_end();
    if !delimiter.starts_with(b"--") || !(3..=MAX_BOUNDARY + 2).contains(&delimiter.len()) {
        return None;
    }
    let mut fields = Vec::new();
    let mut part = Part::default();
    for line in lines {
        match line.strip_prefix(delimiter).map(<[u8]>::trim_ascii_end) {
            Some(b"") => fields.extend(std::mem::take(&mut part).finish()),
            Some(b"--") => {
                fields.extend(part.finish());
                break;
            }
            _ => part.take(line),
        }
    }
    Some(fields.into_iter().collect())
}

/// A part as far as it has been read. One that no delimiter ends is never finished, and so never counts.
#[derive(Default)]
struct Part {
    /// The field's name, once its header has been seen.
    name: Option<String>,
    /// A file, whose content is not ours to read.
    file: bool,
    /// `None` while still among the headers.
    content: Option<Vec<u8>>,
}

impl Part {
    fn take(&mut self, line: &[u8]) {
        match &mut self.content {
            Some(content) if !self.file => content.extend_from_slice(line),
            Some(_) => {}
            None => {
                let header = without_line_end(line);
                if header.is_empty() {
                    self.content = Some(Vec::new());
                } else {
                    self.header(header);
                }
            }
        }
    }

    fn header(&mut self, header: &[u8]) {
        let Some((key, value)) = std::str::from_utf8(header)
            .ok()
            .and_then(|text| text.split_once(':'))
        else {
            return;
        };
        if key.trim().eq_ignore_ascii_case("content-disposition") {
            self.file = parameter(value, "filename").is_some();
            self.name = parameter(value, "name");
        }
    }

    fn finish(self) -> Option<(String, Value)> {
        // The line end before a delimiter belongs to the delimiter.
        let content = without_line_end(self.content.as_deref()?).to_vec();
        let text = String::from_utf8(content).ok()?;
        (!self.file)
            .then_some(self.name)?
            .map(|name| (name, Value::Text(text)))
    }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A parameter of a `Content-Disposition` value: `form-data; name="a"; filename=b`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, next) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (token, next) = after.split_once(';').unwrap_or((after, ""));
                (token.trim().to_owned(), next)
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = next.trim_start().trim_start_matches(';');
    }
}

/// The text up to the closing quote, and what comes after it. `\"` is a quote (RFC 2183), and so is `%22` (browsers).
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value.replace("%22", "\""), chars.as_str())),
            '\\' if chars.as_str().starts_with(['"', '\\']) => value.extend(chars.next()),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn text_fields_are_read_and_files_are_skipped() {
        let body = "--b0\r\nContent-Disposition: form-data; name=\"userId\"\r\nContent-Type: text/plain\r\n\r\njp_1\r\n\
            --b0\r\ncontent-disposition: form-data; filename=\"x.png\"; name=\"userId\"\r\n\r\n\u{1}\u{2}\r\n\
            --b0 \r\nContent-Disposition: form-data; name=note\r\n\r\nline one\r\n\r\nline --b0 three\r\n--b0--\r\nepilogue";
        let fields = read(body.as_bytes()).expect("multipart");
        assert_eq!(fields.get("userId"), Some(&text("jp_1")));
        assert_eq!(
            fields.get("note"),
            Some(&text("line one\r\n\r\nline --b0 three"))
        );
    }

    #[test]
    fn a_part_that_was_cut_off_does_not_count() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n2";
        let fields = read(body).expect("multipart");
        assert_eq!((fields.get("a"), fields.get("b")), (Some(&text("1")), None));
    }

    #[test]
    fn bare_line_feeds_and_escaped_quotes_are_understood() {
        let body = b"--b\nContent-Disposition: form-data; name=\"a\\\"b\"\n\n1\n--b--";
        assert_eq!(read(body).expect("multipart").get("a\"b"), Some(&text("1")));
    }
}
