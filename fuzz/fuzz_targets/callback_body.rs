//! Whatever is posted, there is a reading of it, and its sign can be checked. The query string is what follows the
//! first zero byte, if there is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vexora_relay::domain::{Secret, Secrets};
use vexora_relay::receive::body;
use vexora_relay::signing::vexora;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let posted = parts.next().unwrap_or_default();
    let query = parts
        .next()
        .and_then(|query| std::str::from_utf8(query).ok());
    let reading = body::read(posted, query);
    assert!(reading.claim.as_ref().is_none_or(|claim| claim.len() <= 64));
    let _any = vexora::check(
        &reading.params,
        &Secrets::new(Secret::new("s3cr3t"), vec![]),
    );
    assert_eq!(
        reading,
        body::read(posted, query),
        "a reading depends on the bytes alone"
    );
});
