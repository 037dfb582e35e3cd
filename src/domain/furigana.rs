//! A name in katakana, as an application needs it. Personal: goes to the provider and nowhere else.

use std::fmt;
use std::str::FromStr;

use super::InvalidId;

/// A user's name in katakana (`usernameFurigana`): 1 to 128 characters, full or half width, with spaces, middle dots,
/// long-vowel marks and digits (the provider's example ends in digits); at least one of them a katakana letter.
#[derive(Clone, PartialEq, Eq)]
pub struct Furigana(String);

impl Furigana {
    /// The name, for the one request that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

const fn is_letter(c: char) -> bool {
    // Full width with its phonetic extension and iteration marks; half width with its sound marks.
    matches!(c, '\u{30A1}'..='\u{30FA}' | '\u{30FD}' | '\u{30FE}' | '\u{31F0}'..='\u{31FF}'
        | '\u{FF66}'..='\u{FF6F}' | '\u{FF71}'..='\u{FF9F}')
}

const fn is_companion(c: char) -> bool {
    matches!(c, ' ' | '\u{3000}' | '\u{30FB}' | '\u{FF65}' | '\u{30FC}' | '\u{FF70}'
        | '0'..='9' | '\u{FF10}'..='\u{FF19}')
}

impl FromStr for Furigana {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.chars().count() > 128 {
            return Err(InvalidId("a name has at most 128 characters"));
        }
        if !text.chars().any(is_letter) {
            return Err(InvalidId("a name has at least one katakana letter"));
        }
        if !text.chars().all(|c| is_letter(c) || is_companion(c)) {
            return Err(InvalidId(
                "a name is written in katakana, full or half width, with spaces, middle dots, long-vowel marks and digits",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Furigana {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Furigana(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn katakana_of_both_widths_is_taken() {
        for good in [
            "ヤマダ タロウ1",
            "ヤマダ　タロウ",
            "ﾔﾏﾀﾞ ﾀﾛｳ",
            "ジョン・スミス",
            "サトー",
            "ｻﾄｰ･ﾊﾅｺ１２",
            "ヴィヴィアン",
        ] {
            assert!(good.parse::<Furigana>().is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn anything_else_is_refused_and_not_repeated() {
        for bad in [
            "",
            " ",
            "123",
            "やまだ",
            "山田太郎",
            "Yamada",
            "ヤマダ\n",
            "ヤマダ<b>",
            "ー・",
        ] {
            let error = bad.parse::<Furigana>().expect_err(bad);
            assert!(bad.is_empty() || bad == " " || !error.to_string().contains(bad));
        }
        assert!("ア".repeat(129).parse::<Furigana>().is_err());
        assert_eq!(
            format!("{:?}", "ヤマダ".parse::<Furigana>().expect("valid")),
            "Furigana(…)"
        );
    }
}
