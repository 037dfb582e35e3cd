//! Whatever a receiver asks for, it is a wait or nothing; the first eight bytes are the time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vexora_relay::deliver::retry_after;
use vexora_relay::domain::Timestamp;

fuzz_target!(|data: &[u8]| {
    let Some((now, hint)) = data.split_first_chunk::<8>() else {
        return;
    };
    if let Ok(hint) = std::str::from_utf8(hint) {
        let now = Timestamp::from_millis(u64::from_le_bytes(*now));
        if let Some(wait) = retry_after(hint, now) {
            let _due = now.plus(wait);
        }
    }
});
