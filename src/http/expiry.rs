//! When a certificate expires, read from its DER.
//!
//! Only for the metrics: that the certificate is one was decided by the TLS library before. What does not read as
//! expected has no time here, and nothing else is concluded from it.

use crate::domain::Timestamp;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Tag, content, and what comes after (X.690 §8.1, definite lengths).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = if *length < 0x80 {
        (usize::from(*length), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(*length & 0x7f))?;
        let add = |sum: usize, digit: &u8| sum.checked_mul(256)?.checked_add(usize::from(*digit));
        (digits.iter().try_fold(0, add)?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

fn inside(bytes: &[u8]) -> Option<&[u8]> {
    element(bytes).and_then(|(tag, content, _)| (tag == SEQUENCE).then_some(content))
}

fn after(bytes: &[u8]) -> Option<&[u8]> {
    element(bytes).map(|(_, _, rest)| rest)
}

/// `notAfter` of a certificate (RFC 5280 §4.1).
pub(super) fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let fields = inside(inside(certificate)?)?;
    let (first, _, rest) = element(fields)?;
    let serial = if first == VERSION { rest } else { fields };
    let signature = after(serial)?;
    let issuer = after(signature)?;
    let validity = inside(after(issuer)?)?;
    let (tag, text, _) = element(after(validity)?)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// `YYMMDDHHMMSSZ`, or with four digits of the year (RFC 5280 §4.1.2.5).
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let digits = text.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |from: usize| rest.get(from..from + 2)?.parse::<i8>().ok();
    let at = jiff::civil::DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0);
    let at = at.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    let millis = u64::try_from(at.timestamp().as_millisecond()).ok()?;
    Some(Timestamp::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn until(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("a name");
        params.not_after = rcgen::date_time_ymd(year, month, day);
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").der().to_vec()
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_of_time() {
        // date -u -d 2031-02-03 +%s
        let soon = Timestamp::from_millis(1_927_843_200_000);
        assert_eq!(not_after(&until(2031, 2, 3)), Some(soon));
        // Beyond 2049 it is written with four digits: date -u -d 2061-02-03 +%s
        let late = Timestamp::from_millis(2_874_614_400_000);
        assert_eq!(not_after(&until(2061, 2, 3)), Some(late));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, cut in 0usize..400, change: u8) {
            let _none = not_after(&bytes);
            let mut certificate = until(2031, 2, 3);
            certificate.truncate(cut);
            if let Some(byte) = certificate.last_mut() {
                *byte = change;
            }
            let _any = not_after(&certificate);
        }
    }
}
