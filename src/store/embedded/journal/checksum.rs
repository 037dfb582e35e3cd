//! CRC-32C of two parts from those of each, so that what grows need not be read again.
//!
//! A checksum is a polynomial over GF(2) (RFC 3720 §12.1): what stands before `n` more bytes counts multiplied by x^8n, which is
//! a linear map of its 32 bits, and what follows is added. Maps for each power of two are made once.

use std::sync::LazyLock;

/// Where each of the 32 bits goes.
type Map = [u32; 32];

/// Maps for 1, 2, 4 and so on up to 2 GiB of bytes: no payload has more than 4 GiB.
static MAPS: LazyLock<[Map; 32]> = LazyLock::new(|| {
    let mut map: Map = std::array::from_fn(|bit| crc32c::crc32c_combine(1 << bit, 0, 1));
    std::array::from_fn(|_| {
        let this = map;
        map = this.map(|bits| applied(&this, bits));
        this
    })
});

fn applied(map: &Map, bits: u32) -> u32 {
    let set = map.iter().enumerate();
    let set = set.filter(|(bit, _)| bits >> bit & 1 == 1);
    set.fold(0, |sum, (_, image)| sum ^ image)
}

/// The checksum of bytes with the checksum `first`, followed by `length` bytes with the checksum `second`.
pub(super) fn joined(first: u32, second: u32, length: u32) -> u32 {
    let powers = MAPS.iter().enumerate();
    let powers = powers.filter(|(power, _)| length >> power & 1 == 1);
    powers.fold(first, |moved, (_, map)| applied(map, moved)) ^ second
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn of_two_parts_it_is_that_of_the_whole(
            first in proptest::collection::vec(any::<u8>(), 0..70),
            second in proptest::collection::vec(any::<u8>(), 0..9000),
        ) {
            let length = u32::try_from(second.len()).unwrap_or(u32::MAX);
            let parts = joined(crc32c::crc32c(&first), crc32c::crc32c(&second), length);
            prop_assert_eq!(parts, crc32c::crc32c(&[first, second].concat()));
        }

        #[test]
        fn it_is_what_the_library_finds_at_more_length(first: u32, second: u32, length in 1u32..) {
            let theirs = crc32c::crc32c_combine(first, second, usize::try_from(length).unwrap_or(0));
            prop_assert_eq!(joined(first, second, length), theirs);
        }
    }
}
