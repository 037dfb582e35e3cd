//! The colours of the stylesheet, light and dark, held to WCAG 2.2 AA by its own formula.

use std::collections::BTreeMap;

const CSS: &str = include_str!("../../../src/http/admin/dashboard/dashboard.css");

/// Text on its background: at least 4.5 to 1 (1.4.3).
const TEXT: &[(&str, &str)] = &[
    ("text", "page"),
    ("text", "panel"),
    ("text", "raised"),
    ("text", "good-back"),
    ("text", "bad-back"),
    ("muted", "page"),
    ("muted", "panel"),
    ("muted", "raised"),
    ("link", "page"),
    ("link", "panel"),
    ("button-text", "button"),
    ("bad", "panel"),
    ("bad", "raised"),
    ("good", "good-back"),
    ("warn", "warn-back"),
    ("bad", "bad-back"),
];

/// What else must be seen, on its background: at least 3 to 1 (1.4.11).
const PARTS: &[(&str, &str)] = &[
    ("field", "panel"),
    ("field", "page"),
    ("plot-one", "panel"),
    ("plot-two", "panel"),
    ("focus", "panel"),
    ("focus", "page"),
];

fn palette(block: &str) -> BTreeMap<String, [f64; 3]> {
    let lines = block
        .lines()
        .filter_map(|line| line.trim().strip_prefix("--"));
    let pairs = lines.filter_map(|line| line.strip_suffix(';')?.split_once(": #"));
    pairs
        .map(|(name, hex)| {
            let part = |at: usize| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            (name.to_owned(), [part(0), part(2), part(4)])
        })
        .collect()
}

/// Relative luminance.
fn luminance(colour: [f64; 3]) -> f64 {
    let [red, green, blue] = colour.map(|part| {
        let part = part / 255.0;
        if part <= 0.04045 {
            part / 12.92
        } else {
            ((part + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn the_formula_is_the_standards() {
    assert!((contrast([0.0; 3], [255.0; 3]) - 21.0).abs() < 1e-9);
    assert!((contrast([119.0; 3], [255.0; 3]) - 4.48).abs() < 0.01);
}

#[test]
fn every_pair_of_colours_is_readable_in_light_and_in_dark() {
    let (light, rest) = CSS
        .split_once("@media (prefers-color-scheme: dark)")
        .unwrap();
    let (dark, _) = rest.split_once("*, *::before").unwrap();
    for (scheme, block) in [("light", light), ("dark", dark)] {
        let palette = palette(block);
        assert_eq!(palette.len(), 19, "{scheme}: {palette:?}");
        for (pairs, least) in [(TEXT, 4.5), (PARTS, 3.0)] {
            for (front, back) in pairs {
                let ratio = contrast(palette[*front], palette[*back]);
                assert!(
                    ratio >= least,
                    "{scheme}: {front} on {back} is {ratio:.2}, less than {least}"
                );
            }
        }
    }
}

#[test]
fn colours_are_named_in_the_palette_and_nowhere_else() {
    let (_, rules) = CSS.split_once("*, *::before").unwrap();
    let named = rules.matches('#').count();
    assert_eq!(named, 0, "a colour beside the palette is held to nothing");
    assert!(!rules.contains("rgb("));
    assert!(!CSS.contains("url("), "nothing is loaded");
}
