//! Whatever the provider answers, it is a verdict or a reason why not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vexora_relay::domain::{Answer, Status};
use vexora_relay::verify::read_answer;

fuzz_target!(|data: &[u8]| {
    if let Ok(Answer::Verdict(verdict)) = read_answer(data) {
        let again = Status::parse(verdict.status().code());
        assert_eq!(
            again.as_ref(),
            Ok(verdict.status()),
            "a status survives being written down"
        );
    }
});
