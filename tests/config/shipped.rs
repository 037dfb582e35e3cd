//! The shipped `config.toml`: accepted, complete, and true about the defaults.

use super::*;

#[test]
fn the_shipped_file_is_accepted_without_a_warning() {
    let config = Place::new().accept(SHIPPED);
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.merchants.len(), 1);
    assert_eq!(config.endpoints.len(), 1);
    assert!(!config.is_loopback_only());
}

#[test]
fn what_the_shipped_file_shows_are_the_defaults() {
    let place = Place::new();
    let shipped = place.accept(SHIPPED);
    let minimal = place.accept(&endpoint(""));
    assert_eq!(format!("{shipped:#?}"), format!("{minimal:#?}"));
}

#[test]
fn every_key_that_is_commented_out_in_the_shipped_file_works_once_it_is_not() {
    let place = Place::new();
    let keys = commented_keys();
    assert!(keys.len() >= 15, "{keys:?}");
    place.accept(&with_lines(|_| true));
    for (index, key, _) in keys {
        if !key.starts_with("client_") {
            place.accept(&with_lines(|at| at == index));
        }
    }
}

#[test]
fn what_the_shipped_file_says_an_endpoint_may_override_has_the_value_of_delivery() {
    let place = Place::new();
    let shipped = place.accept(SHIPPED);
    let keys = [
        "timeout",
        "retry",
        "jitter",
        "give_up_after",
        "concurrency",
        "rate_limit",
        "ordering",
        "format",
    ];
    let shown: Vec<_> = commented_keys()
        .into_iter()
        .filter(|(_, key, _)| keys.contains(key))
        .collect();
    assert_eq!(shown.len(), keys.len());
    let overridden = place.accept(&with_lines(|at| shown.iter().any(|(line, ..)| *line == at)));
    assert_eq!(format!("{shipped:#?}"), format!("{overridden:#?}"));
}

#[test]
fn the_shipped_file_shows_every_key_there_is() {
    let place = Place::new();
    let all = with_lines(|_| true);
    let mut headers = 0;
    // A key that cannot be, after each header: the problem lists the keys that can.
    for (index, header) in all
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with('['))
    {
        headers += 1;
        let mut lines: Vec<&str> = all.lines().collect();
        lines.insert(index + 1, "zzzzzzzz = 1");
        let problem = place.problem(&lines.join("\n"));
        let body: Vec<&str> = all
            .lines()
            .skip(index + 1)
            .take_while(|line| !line.starts_with('['))
            .collect();
        let known = problem
            .expected
            .strip_prefix("one of ")
            .expect("a list of keys");
        for key in known.split(", ") {
            let start = format!("{key} = ");
            assert!(
                body.iter().any(|line| line.starts_with(&start)),
                "{header} does not show {key}"
            );
        }
    }
    assert_eq!(headers, 9);
}
