//! Whatever is in the file, it is a configuration or a list of problems, each of which can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vexora_relay::config;

fuzz_target!(|text: &str| {
    match config::parse("config.toml", text, &|_: &str| None) {
        Ok(config) => {
            let _routing = config.routing();
        }
        Err(problems) => assert!(!problems.to_string().is_empty(), "refused without a reason"),
    }
});
