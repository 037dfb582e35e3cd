//! `[[merchant]]`: whose callbacks are taken, and the secrets that go with them.

use super::addresses::base_url;
use super::problems::Fault;
use super::reader::{Node, Section};
use super::secrets;
use super::settings::MerchantSettings;
use crate::domain::{MerchantNo, Secret, Secrets};

const TEN_DIGITS: &str = "a string of exactly ten digits";
/// A token that is longer makes URLs that some provider's field will cut.
const LONGEST_TOKEN: usize = 128;
/// 16 characters of base 32 are 80 bits: out of reach of guessing over a network.
const GOOD_TOKEN: usize = 16;
/// Below it, a token is no obstacle.
const SHORTEST_TOKEN: usize = 8;
const TOKEN_HINT: &str = "`openssl rand -hex 24` and `vexora-relay secret` make one";

/// All merchants: at least one, no number twice. Beside them every number there is, of those too that something else
/// is wrong with: whoever refers to them is not to blame.
pub(super) fn merchants(root: &Section<'_>) -> (Vec<MerchantSettings>, Vec<MerchantNo>) {
    let sections = root.sections("merchant", "merchant_no");
    if sections.is_empty() {
        root.fault(
            "merchant",
            Fault::new("is missing", "at least one [[merchant]]")
                .hint("[[merchant]] with merchant_no and app_secret, as Vexora assigned them"),
        );
    }
    let mut seen: Vec<(MerchantNo, Option<usize>)> = Vec::new();
    let mut merchants = Vec::new();
    for section in sections {
        merchants.extend(merchant(section, &mut seen));
    }
    let numbers = seen.into_iter().map(|(number, _)| number).collect();
    (merchants, numbers)
}

fn merchant(
    section: Section<'_>,
    seen: &mut Vec<(MerchantNo, Option<usize>)>,
) -> Option<MerchantSettings> {
    let missing = Fault::new("is missing", TEN_DIGITS);
    let merchant_no = section.required("merchant_no", missing, |node| {
        let number = merchant_no(node)?;
        match seen.iter().find(|(other, _)| *other == number) {
            Some((_, line)) => {
                let at = line.map_or_else(String::new, |line| format!(" in line {line}"));
                let found = format!("is that of another merchant{at}");
                node.fault(Fault::new(found, "a number of its own"));
            }
            None => seen.push((number.clone(), node.line())),
        }
        Some(number)
    });
    let app_secret = section.required("app_secret", secrets::missing(), |node| {
        secrets::rotation(node, |_, secret| Ok(secret.clone()))
    });
    let callback_token = section.get("callback_token");
    if callback_token.is_none() {
        section.warn_if_exposed(
            "callback_token",
            "is not set: whoever knows the merchant number can post callbacks",
        );
    }
    let callback_token = callback_token.and_then(|node| secrets::rotation(&node, token));
    let base_url = section.optional("base_url", base_url);
    section.finish();
    Some(MerchantSettings {
        merchant_no: merchant_no?,
        app_secret: Secrets::from_list(app_secret?)?,
        callback_token: callback_token.and_then(Secrets::from_list),
        base_url,
    })
}

/// A merchant's number.
pub(super) fn merchant_no(node: &Node<'_>) -> Option<MerchantNo> {
    if node.kind() == "an integer" {
        node.fault(Fault::new("is an integer", TEN_DIGITS).hint("put it in quotes"));
        return None;
    }
    node.text(TEN_DIGITS, |text| {
        text.parse()
            .map_err(|_invalid| Fault::text(text, TEN_DIGITS))
    })
}

fn token(node: &Node<'_>, secret: &Secret) -> Result<Secret, Fault> {
    let text = secret.expose();
    let unreserved =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let expected = format!("{GOOD_TOKEN} to {LONGEST_TOKEN} characters of A-Z a-z 0-9 - . _ ~");
    if !text.bytes().all(unreserved) {
        let found = "holds characters that do not go into a URL as they are";
        return Err(Fault::new(found, expected).hint(TOKEN_HINT));
    }
    if !(SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&text.len()) {
        return Err(
            Fault::new(format!("has {} characters", text.len()), expected).hint(TOKEN_HINT),
        );
    }
    if text.len() < GOOD_TOKEN {
        node.warn_if_exposed(
            "the token is shorter than 16 characters; `openssl rand -hex 24` makes one that nobody guesses",
        );
    }
    Ok(secret.clone())
}
