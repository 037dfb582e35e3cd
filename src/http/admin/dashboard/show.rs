//! Pieces of pages: times, texts of strangers, states, lists.
//!
//! Promise: text that came from outside is escaped, cut, isolated from the direction of what stands around it, and holds
//! no character that would not be seen.

use std::fmt::Write as _;
use std::time::Duration;

use maud::{Markup, html};

use super::fields::{Fields, link};
use crate::domain::{
    Delivery, DeliveryState, EventContent, EventKind, MerchantNo, Timestamp, UserId,
};
use crate::store::Page;

/// The longest text shown in a list.
pub(super) const IN_LIST: usize = 160;

/// The longest text shown where it is what the page is about.
pub(super) const IN_FULL: usize = 16_384;

/// A span as people say it: its greatest unit, whole.
pub(super) fn span(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0 => format!("{} ms", span.as_millis()),
        1..=119 => format!("{secs} s"),
        120..=7199 => format!("{} min", secs / 60),
        7200..=172_799 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

/// How long ago or ahead.
fn age(at: Timestamp, now: Timestamp) -> String {
    let (ago, ahead) = (now.since(at), at.since(now));
    if ahead.as_secs() > 0 {
        format!("in {}", span(ahead))
    } else if ago.as_secs() == 0 {
        "just now".to_owned()
    } else {
        format!("{} ago", span(ago))
    }
}

/// A time in UTC (the zone of whoever reads is not known to a server), and how long ago or ahead that is.
pub(super) fn when(at: Timestamp, now: Timestamp) -> Markup {
    let exact = at.to_string();
    let date = exact.get(..10).unwrap_or_default();
    let time = exact.get(11..19).unwrap_or_default();
    html! {
        time datetime=(exact) title=(exact) { (date) " " (time) }
        " " span class="age" { (age(at, now)) }
    }
}

/// Characters that are not seen, or that change how others are: they are written out.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

fn written_out(text: &str, most: usize, keeps: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len().min(most * 4));
    let mut letters = text.chars();
    for letter in letters.by_ref().take(most) {
        if is_unseen(letter) && !keeps(letter) {
            let _into_a_string = write!(shown, "\\u{{{:x}}}", u32::from(letter));
        } else {
            shown.push(letter);
        }
    }
    let rest = letters.count();
    if rest > 0 {
        let _into_a_string = write!(shown, " … ({rest} more characters)");
    }
    shown
}

/// Text that came from outside, on one line.
pub(super) fn text(text: &str, most: usize) -> Markup {
    html! { bdi { (written_out(text, most, |_| false)) } }
}

/// Bytes that came from outside, with their lines.
pub(super) fn raw(bytes: &[u8], label: &str) -> Markup {
    // No more is looked at than can be shown.
    let head = bytes.get(..IN_FULL * 4).unwrap_or(bytes);
    let lossy = String::from_utf8_lossy(head);
    let shown = written_out(&lossy, IN_FULL, |letter| matches!(letter, '\n' | '\t'));
    html! { pre tabindex="0" role="region" aria-label=(label) { (shown) } }
}

/// How something stands; the word says it, colour and sign only repeat it.
pub(super) fn tag(class: &str, word: &str) -> Markup {
    html! { span class={ "tag " (class) } { (word) } }
}

/// The state of a delivery.
pub(super) fn stand(delivery: &Delivery, held: bool) -> Markup {
    match delivery.state {
        DeliveryState::Waiting { .. } if held => tag("warn", "held"),
        DeliveryState::Waiting { .. } if delivery.last_failure.is_some() => tag("warn", "retrying"),
        DeliveryState::Waiting { .. } => tag("", "waiting"),
        DeliveryState::Delivering { .. } => tag("", "delivering"),
        DeliveryState::Delivered { .. } => tag("good", "delivered"),
        DeliveryState::Abandoned { reason, .. } => match reason.as_str() {
            "discarded" => tag("", "discarded"),
            "too_old" => tag("bad", "abandoned: too old"),
            _ => tag("bad", "abandoned: tries used up"),
        },
    }
}

/// The kind of an event.
pub(super) fn kind(kind: EventKind) -> Markup {
    let class = match kind {
        EventKind::KycApproved | EventKind::EndpointRecovered | EventKind::ProviderRecovered => {
            "good"
        }
        EventKind::KycRejected
        | EventKind::EndpointDown
        | EventKind::ProviderDown
        | EventKind::DeliveryAbandoned => "bad",
        EventKind::KycUnknown | EventKind::VerificationStuck | EventKind::CallbackUnrecognized => {
            "warn"
        }
        EventKind::KycPending | EventKind::KycUnderReview | EventKind::Test => "",
    };
    tag(class, kind.as_str())
}

/// Where a user's story is. Not a path: a user may be called `..`.
pub(super) fn user_path(merchant: &MerchantNo, user: &UserId) -> String {
    let pairs = [("merchant", merchant.as_str()), ("user", user.as_str())];
    link("/user", &pairs)
}

/// A user, with a way to its story.
pub(super) fn user(merchant: &MerchantNo, user: &UserId) -> Markup {
    html! { a href=(user_path(merchant, user)) { (text(user.as_str(), IN_LIST)) } }
}

/// Whom or what an event is about.
pub(super) fn about(content: &EventContent) -> Markup {
    match content {
        EventContent::Result(result) => html! {
            (user(&result.merchant, &result.user))
            " " span class="muted keep" { "result " (result.sequence) }
        },
        EventContent::Operational(news) => match (news.about_endpoint(), news.merchant()) {
            (Some(name), _) => html! { a href={ "/endpoints/" (name) } { (name) } },
            (None, Some(merchant)) => html! { span class="muted" { "merchant " (merchant) } },
            (None, None) => html! { span class="muted" { "the relay" } },
        },
    }
}

/// The way to what comes after a page.
pub(super) fn pager<T>(page: &Page<T>, path: &str, query: &Fields) -> Markup {
    let later = query.get("cursor").is_some();
    html! {
        @if later || page.next.is_some() {
            nav class="pager" aria-label="More" {
                @if later { a class="button" href=(query.from(path, None)) { "First page" } }
                @if page.next.is_some() {
                    a class="button" href=(query.from(path, page.next.as_ref())) rel="next" { "Next page" }
                }
                @if page.items.is_empty() && page.next.is_some() {
                    span { "Nothing that fits so far; there is more to look through." }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_strangers_are_escaped_cut_and_without_unseen_characters() {
        let hostile = "<script>alert(1)</script>\u{202E}gpj\u{0}\u{7f}\u{200b}&\"'";
        let shown = text(hostile, 100).into_string();
        assert_eq!(
            shown,
            "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;\\u{202e}gpj\\u{0}\\u{7f}\\u{200b}&amp;&quot;'</bdi>"
        );
        let long = "x".repeat(100_000);
        let shown = text(&long, IN_LIST).into_string();
        assert!(shown.len() < 250, "{}", shown.len());
        assert!(shown.contains("(99840 more characters)"), "{shown}");
        let body = raw(b"a\nb\x1b[31m\xff<b>", "Body").into_string();
        assert!(body.contains("a\nb\\u{1b}[31m\u{FFFD}&lt;b&gt;"), "{body}");
        assert!(raw(&vec![b'<'; 1 << 20], "Body").into_string().len() < 80_000);
    }

    #[test]
    fn spans_are_said_in_the_unit_that_people_would_use() {
        for (millis, said) in [
            (5, "5 ms"),
            (119_000, "119 s"),
            (120_000, "2 min"),
            (7_200_000, "2 h"),
            (172_800_000, "2 days"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), said);
        }
        let at = |secs: u64| Timestamp::from_millis(secs * 1000);
        assert_eq!(age(at(100), at(100)), "just now");
        assert_eq!(age(at(100), at(130)), "30 s ago");
        assert_eq!(age(at(130), at(100)), "in 30 s");
    }
}
