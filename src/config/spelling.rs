//! "Did you mean": which known word a mistyped one is near to.

/// The known word nearest to `typed`, when it is near enough to be what was meant: at most a third of the letters
/// differ, so that short words do not all resemble each other.
pub(super) fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    // Nobody mistypes so long a word, and the distance of two texts costs the product of their lengths.
    if typed.len() > 64 {
        return None;
    }
    let typed = typed.to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .map(|word| (distance(&typed, &word.replace('-', "_")), *word))
        .filter(|(distance, word)| distance * 3 <= word.chars().count().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many letters must be added, dropped, changed, or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    // Three rows of the usual table suffice: the one being filled and the two above it.
    let mut above: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut before = None;
    for (row, letter) in from.chars().enumerate() {
        let mut current = Vec::with_capacity(last.len());
        current.push(row + 1);
        let mut left = None;
        for (column, wanted) in to.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let change = at(&last, column) + usize::from(letter != *wanted);
            let mut best = change
                .min(at(&last, column + 1) + 1)
                .min(at(&current, column) + 1);
            if before == Some(*wanted) && left == Some(letter) && column > 0 {
                best = best.min(at(&above, column - 1) + 1);
            }
            current.push(best);
            left = Some(*wanted);
        }
        above = std::mem::replace(&mut last, current);
        before = Some(letter);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] = ["listen", "max_body", "rate_limit", "allow_from", "ack"];

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        for (typed, meant) in [
            ("max_bdoy", "max_body"),
            ("maxbody", "max_body"),
            ("Listen", "listen"),
            ("rate-limit", "rate_limit"),
            ("ratelimits", "rate_limit"),
            ("akc", "ack"),
        ] {
            assert_eq!(nearest(typed, &KNOWN), Some(meant), "{typed}");
        }
    }

    #[test]
    fn another_word_is_not() {
        for typed in ["", "port", "body", "bind_address", "x", &"l".repeat(1000)] {
            assert_eq!(nearest(typed, &KNOWN), None, "{typed}");
        }
    }

    #[test]
    fn distance_counts_letters() {
        for (from, to, letters) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
            ("タロウ", "タロー", 1),
        ] {
            assert_eq!(distance(from, to), letters, "{from} {to}");
            assert_eq!(distance(to, from), letters, "{to} {from}");
        }
    }
}
